import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

SOURCE = 'https://discuss.pytorch.org/t/pytorch-lstm-output-not-match-hidden-state/114814'
CATEGORY = 'correct'
DESCRIPTION = 'Packed sentences of different length, unsorted: hn[-2] and hn[-1] are joined and do not equal the outputs at the last words; they are the final states of both directions, in the order of the batch.'


class SentenceEncoder(nn.Module):
    def __init__(self, vocab_size, embed_dim, hidden_size, num_layers=2):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim)
        self.rnn = nn.LSTM(embed_dim, hidden_size, num_layers, bidirectional=True, dropout=0.1)
        self.norm = nn.LayerNorm(2 * hidden_size)

    def forward(self, sentences):
        packed = pack_sequence([self.embedding(s) for s in sentences], enforce_sorted=False)
        y, (hn, cn) = self.rnn(packed)
        y, lens = pad_packed_sequence(y)
        last = torch.cat([hn[-2], hn[-1]], dim=1)
        mask = torch.arange(y.size(0))[:, None] < lens[None, :]
        mean = (y * mask.unsqueeze(-1)).sum(0) / lens.unsqueeze(-1)
        return self.norm(last + mean)


class SentimentModel(nn.Module):
    def __init__(self, vocab_size=60, embed_dim=8, hidden_size=8, classes=3):
        super().__init__()
        self.encoder = SentenceEncoder(vocab_size, embed_dim, hidden_size)
        self.fc = nn.Linear(2 * hidden_size, classes)

    def forward(self, sentences):
        return self.fc(self.encoder(sentences))


def reviews(n=8):
    lengths = torch.randint(1, 12, (n,)).tolist()
    sentences = [torch.randint(3, 60, (k,)) for k in lengths]
    labels = torch.randint(0, 3, (n,))
    for s, l in zip(sentences, labels.tolist()):
        s[0] = l
    return sentences, labels


def build():
    return SentimentModel()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(3):
        sentences, labels = reviews()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(sentences), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
