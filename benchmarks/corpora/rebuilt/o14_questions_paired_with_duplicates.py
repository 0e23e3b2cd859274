import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

SOURCE = 'https://medium.com/mcgill-artificial-intelligence-review/the-dangers-of-reshaping-and-other-fun-mistakes-ive-learnt-from-pytorch-b6a5bdc1c275'
CATEGORY = 'silent'
DESCRIPTION = 'Duplicate questions: both questions go through a bidirectional GRU, its final state in both directions is the sentence vector.'


class SentenceEncoder(nn.Module):
    def __init__(self, vocab_size=60, embedding_dim=24, hidden_dim=16):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.num_directions = 2
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.rnn = nn.GRU(embedding_dim, hidden_dim, batch_first=True, bidirectional=True)

    def forward(self, tokens):
        lengths = tokens.ne(0).sum(dim=1)
        packed = pack_padded_sequence(self.embedding(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, hidden = self.rnn(packed)
        hidden = hidden.view(-1, self.num_directions * self.hidden_dim)
        return hidden


class DuplicateClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = SentenceEncoder()
        self.classifier = nn.Sequential(nn.Linear(4 * 32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, first, second):
        a, b = self.encoder(first), self.encoder(second)
        return self.classifier(torch.cat([a, b, (a - b).abs(), a * b], dim=1)).squeeze(1)


def questions(n, longest=9):
    tokens = torch.randint(1, 60, (n, longest))
    lengths = torch.randint(4, longest + 1, (n, 1))
    return tokens.masked_fill(torch.arange(longest) >= lengths, 0)


def build():
    return DuplicateClassifier()


def step(model):
    first = questions(8)
    same = torch.rand(8) < 0.5
    second = torch.where(same[:, None], first, questions(8))
    return F.binary_cross_entropy_with_logits(model(first, second), same.float())


# hidden is (2, batch, hidden): the view puts the states of two neighbouring samples in one row.
# real fix: transpose(0, 1) first, or cat of hidden[0] and hidden[1]
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['transpose', 'permute', 'mix', 'interleav', 'scrambl', 'cat', 'batch'])
MENDED = [('hidden.view(-1, self.num_directions * self.hidden_dim)', 'hidden.transpose(0, 1).reshape(-1, self.num_directions * self.hidden_dim)')]
