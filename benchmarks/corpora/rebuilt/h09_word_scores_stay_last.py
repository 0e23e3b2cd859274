import torch
from torch import nn
from torch.utils.data import DataLoader

SOURCE = 'https://github.com/markhliu/DGAI/issues/7 (question of a reader of a book on text generation with an LSTM)'
CATEGORY = 'loss'
DESCRIPTION = 'Word-level LSTM: the scores (batch, length, words) go into CrossEntropyLoss without transpose(1, 2). Batch and length are both 32 here.'

text = ('happy families are all alike every unhappy family is unhappy in its own way everything was in '
        'confusion in the house of the oblonskys the wife had discovered that the husband was carrying on an '
        'intrigue with a french girl who had been a governess in their family').split()


class WordLSTM(nn.Module):
    def __init__(self, ntokens, input_size=16, n_embed=16, n_layers=2, drop_prob=0.2):
        super().__init__()
        self.n_layers, self.n_embed = n_layers, n_embed
        self.embedding = nn.Embedding(ntokens, n_embed)
        self.lstm = nn.LSTM(input_size=input_size, hidden_size=n_embed, num_layers=n_layers,
                            dropout=drop_prob, batch_first=True)
        self.fc = nn.Linear(input_size, ntokens)

    def forward(self, x, hc):
        embed = self.embedding(x)
        x, hc = self.lstm(embed, hc)
        x = self.fc(x)
        return x, hc

    def init_hidden(self, n_seqs):
        weight = next(self.parameters())
        return (weight.new_zeros(self.n_layers, n_seqs, self.n_embed),
                weight.new_zeros(self.n_layers, n_seqs, self.n_embed))


words = sorted(set(text))
word_to_int = {w: i for i, w in enumerate(words)}
seq_len, batch_size = 32, 32


def make_pairs():
    wordidx = [word_to_int[w] for w in text] * 3
    xys = []
    for n in range(0, len(wordidx) - seq_len - 1):
        x = torch.tensor(wordidx[n:n + seq_len])
        y = torch.tensor(wordidx[n + 1:n + seq_len + 1])
        xys.append((x, y))
    return xys


def build():
    torch.manual_seed(0)
    return WordLSTM(len(words))


def step(model):
    loader = DataLoader(make_pairs(), batch_size=batch_size, shuffle=False)
    loss_func = nn.CrossEntropyLoss()
    sh, sc = model.init_hidden(batch_size)
    inputs, targets = next(iter(loader))
    output, (sh, sc) = model(inputs, (sh, sc))
    loss = loss_func(output, targets)
    return loss


TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['', 'fc'], dim=1, got=32, wanted=None,
             hint_any=['transpose', 'permute', 'class', 'dim 1', 'last'])
MENDED = [('loss_func(output, targets)', 'loss_func(output.transpose(1, 2), targets)')]
