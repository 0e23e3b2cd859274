from collections import namedtuple
from itertools import chain

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/shenweichen/DeepCTR-Torch/issues/225'
CATEGORY = 'layer'
DESCRIPTION = 'DeepFM with embedding_dim="auto": each field gets a width of its own (6 and 12); the factorization machine stacks the fields.'


class SparseFeat(namedtuple('SparseFeat', ['name', 'vocabulary_size', 'embedding_dim'])):
    def __new__(cls, name, vocabulary_size, embedding_dim=4):
        if embedding_dim == 'auto':
            embedding_dim = 6 * int(pow(vocabulary_size, 0.25))
        return super().__new__(cls, name, vocabulary_size, embedding_dim)


class DenseFeat(namedtuple('DenseFeat', ['name', 'dimension'])):
    def __new__(cls, name, dimension=1):
        return super().__new__(cls, name, dimension)


def combined_dnn_input(sparse, dense):
    sparse = torch.flatten(torch.cat(sparse, dim=-1), start_dim=1)
    return torch.cat([sparse, torch.flatten(torch.cat(dense, dim=-1), start_dim=1)], dim=-1)


class FM(nn.Module):
    def forward(self, inputs):
        square_of_sum = torch.pow(torch.sum(inputs, dim=1, keepdim=True), 2)
        sum_of_square = torch.sum(inputs * inputs, dim=1, keepdim=True)
        return 0.5 * torch.sum(square_of_sum - sum_of_square, dim=2, keepdim=False)


class DNN(nn.Module):
    def __init__(self, inputs_dim, hidden_units, dropout=0.1):
        super().__init__()
        units = [inputs_dim] + list(hidden_units)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(units, units[1:]))
        self.bn = nn.ModuleList(nn.BatchNorm1d(b) for b in units[1:])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        for linear, bn in zip(self.linears, self.bn):
            x = self.dropout(F.relu(bn(linear(x))))
        return x


class DeepFM(nn.Module):
    def __init__(self, columns, hidden_units=(64, 32), l2=1e-5):
        super().__init__()
        self.columns, self.l2 = columns, l2
        self.sparse = [c for c in columns if isinstance(c, SparseFeat)]
        self.dense = [c for c in columns if isinstance(c, DenseFeat)]
        self.index, start = {}, 0
        for c in columns:
            width = 1 if isinstance(c, SparseFeat) else c.dimension
            self.index[c.name], start = (start, start + width), start + width
        self.embedding_dict = nn.ModuleDict({c.name: nn.Embedding(c.vocabulary_size, c.embedding_dim) for c in self.sparse})
        self.linear_dict = nn.ModuleDict({c.name: nn.Embedding(c.vocabulary_size, 1) for c in self.sparse})
        self.linear_dense = nn.Linear(sum(c.dimension for c in self.dense), 1, bias=False)
        self.fm = FM()
        self.dnn = DNN(sum(c.embedding_dim for c in self.sparse) + sum(c.dimension for c in self.dense), hidden_units)
        self.dnn_linear = nn.Linear(hidden_units[-1], 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(1))

    def column(self, X, c):
        a, b = self.index[c.name]
        return X[:, a:b]

    def forward(self, X):
        sparse_embedding_list = [self.embedding_dict[c.name](self.column(X, c).long()) for c in self.sparse]
        dense_value_list = [self.column(X, c) for c in self.dense]
        logit = torch.cat([self.linear_dict[c.name](self.column(X, c).long()) for c in self.sparse], -1).sum(-1)
        logit = logit + self.linear_dense(torch.cat(dense_value_list, -1))
        fm_input = torch.cat(sparse_embedding_list, dim=1)
        logit = logit + self.fm(fm_input)
        logit = logit + self.dnn_linear(self.dnn(combined_dnn_input(sparse_embedding_list, dense_value_list)))
        return torch.sigmoid(logit + self.bias)

    def regularization(self):
        return self.l2 * sum(p.pow(2).sum() for p in chain(self.embedding_dict.parameters(), self.linear_dict.parameters()))


NUNIQUE = {'weekday': 7, 'hour': 24, 'city': 12, 'courier': 210, 'weather': 5}


def build():
    columns = [SparseFeat(name, n, embedding_dim='auto') for name, n in NUNIQUE.items()]
    columns += [DenseFeat('distance'), DenseFeat('queue', 2)]
    return DeepFM(columns)


def step(model):
    X = torch.cat([torch.stack([torch.randint(0, n, (64,)) for n in NUNIQUE.values()], 1).float(), torch.rand(64, 3)], 1)
    y = (torch.rand(64) > 0.5).float()
    y_pred = model(X).squeeze()
    return F.binary_cross_entropy(y_pred, y, reduction='mean') + model.regularization()


# real fix: one embedding_dim for all fields, the factorization machine needs it
# offending tensor: embedding of hour (64, 1, 12), weekday has (64, 1, 6)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['embedding_dict.hour', 'embedding_dict.weekday', 'embedding_dict.courier', 'embedding_dict', ''], dim=2, got=12, wanted=6,
             hint_any=['embedding_dim', 'embedding', 'hour', 'same width'])
MENDED = [("embedding_dim='auto') for", 'embedding_dim=4) for')]
