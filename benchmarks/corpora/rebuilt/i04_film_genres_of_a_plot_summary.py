import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://runebook.dev/zh/docs/pytorch/generated/torch.nn.multilabelmarginloss (the target format, told with its usual mistakes; the surroundings are ours)'
CATEGORY = 'loss'
DESCRIPTION = 'Film genres with MultiLabelMarginLoss: the lists of genre indices are padded with -1 to the longest of the batch (3), the loss wants as many columns as there are classes.'

GENRES = ['action', 'comedy', 'drama', 'horror', 'romance']


class GenreNet(nn.Module):
    def __init__(self, vocab=200, dim=24, hidden=24, num_genres=5):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * hidden, num_genres)

    def forward(self, tokens):
        x, _ = self.gru(self.embedding(tokens))
        x = x.max(dim=1).values
        return self.out(self.drop(x))


class Summaries(torch.utils.data.Dataset):
    genres = [['action'], ['comedy', 'romance'], ['drama'], ['horror', 'drama', 'action'], ['romance'], ['comedy']]

    def __len__(self):
        return len(self.genres)

    def __getitem__(self, i):
        tokens = torch.randint(1, 200, (10 + 3 * i,))
        return tokens, torch.tensor([GENRES.index(g) for g in self.genres[i]])


def collate(batch):
    tokens, labels = zip(*batch)
    tokens = pad_sequence(tokens, batch_first=True)
    labels = pad_sequence(labels, batch_first=True, padding_value=-1)
    return tokens, labels


def build():
    return GenreNet(num_genres=len(GENRES))


def step(model):
    loader = torch.utils.data.DataLoader(Summaries(), batch_size=6, collate_fn=collate)
    criterion = nn.MultiLabelMarginLoss()
    for tokens, labels in loader:
        loss = criterion(model(tokens), labels)
    return loss


# real fix: fill the targets with -1 up to the number of classes
TRUTH = dict(raises='RuntimeError', at='loss:multilabel_margin_loss', culprits=['target', 'function:pad_sequence'], dim=1, got=3, wanted=5,
             hint_any=['pad', 'class', '-1', '5'])
MENDED = [('padding_value=-1)\n', 'padding_value=-1)\n    labels = nn.functional.pad(labels, (0, len(GENRES) - labels.size(1)), value=-1)\n')]
