from collections import namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/shenweichen/DeepCTR-Torch/issues/225'
CATEGORY = 'layer'
DESCRIPTION = 'DeepFM with embedding_dim="auto": every table gets a width after its vocabulary, the FM part stacks them as fields of one width.'


class SparseFeat(namedtuple('SparseFeat', ['name', 'vocabulary_size', 'embedding_dim'])):
    def __new__(cls, name, vocabulary_size, embedding_dim=4):
        if embedding_dim == 'auto':
            embedding_dim = 6 * int(pow(vocabulary_size, 0.25))
        return super().__new__(cls, name, vocabulary_size, embedding_dim)


class DenseFeat(namedtuple('DenseFeat', ['name', 'dimension'])):
    def __new__(cls, name, dimension=1):
        return super().__new__(cls, name, dimension)


def build_input_features(columns):
    features, start = {}, 0
    for c in columns:
        width = c.dimension if isinstance(c, DenseFeat) else 1
        features[c.name] = (start, start + width)
        start += width
    return features


def create_embedding_matrix(columns, linear=False):
    tables = nn.ModuleDict({c.name: nn.Embedding(c.vocabulary_size, 1 if linear else c.embedding_dim)
                            for c in columns if isinstance(c, SparseFeat)})
    for table in tables.values():
        nn.init.normal_(table.weight, std=1e-2)
    return tables


class Linear(nn.Module):
    def __init__(self, columns, feature_index):
        super().__init__()
        self.feature_index = feature_index
        self.embedding_dict = create_embedding_matrix(columns, linear=True)

    def forward(self, X):
        terms = [table(X[:, slice(*self.feature_index[name])].long()) for name, table in self.embedding_dict.items()]
        return torch.cat(terms, dim=-1).sum(dim=-1)


class FM(nn.Module):
    def forward(self, inputs):
        square_of_sum = inputs.sum(dim=1, keepdim=True) ** 2
        sum_of_square = (inputs * inputs).sum(dim=1, keepdim=True)
        return 0.5 * (square_of_sum - sum_of_square).sum(dim=2)


def combined_dnn_input(sparse_embedding_list, dense_value_list):
    sparse = torch.flatten(torch.cat(sparse_embedding_list, dim=-1), start_dim=1)
    return torch.cat([sparse] + dense_value_list, dim=-1)


class DeepFM(nn.Module):
    def __init__(self, columns, dnn_hidden_units=(32, 16)):
        super().__init__()
        self.columns, self.feature_index = columns, build_input_features(columns)
        self.embedding_dict = create_embedding_matrix(columns)
        self.linear_model, self.fm = Linear(columns, self.feature_index), FM()
        width = sum(c.dimension if isinstance(c, DenseFeat) else c.embedding_dim for c in columns)
        sizes = [width] + list(dnn_hidden_units)
        self.dnn = nn.Sequential(*[m for i, o in zip(sizes[:-1], sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())])
        self.dnn_linear = nn.Linear(sizes[-1], 1, bias=False)

    def input_from_feature_columns(self, X):
        sparse = [self.embedding_dict[c.name](X[:, slice(*self.feature_index[c.name])].long())
                  for c in self.columns if isinstance(c, SparseFeat)]
        dense = [X[:, slice(*self.feature_index[c.name])] for c in self.columns if isinstance(c, DenseFeat)]
        return sparse, dense

    def forward(self, X):
        sparse_embedding_list, dense_value_list = self.input_from_feature_columns(X)
        logit = self.linear_model(X)
        fm_input = torch.cat(sparse_embedding_list, dim=1)
        logit = logit + self.fm(fm_input)
        logit = logit + self.dnn_linear(self.dnn(combined_dnn_input(sparse_embedding_list, dense_value_list)))
        return torch.sigmoid(logit)


VOCABULARY = dict(gender=2, age=7, occupation=21, movie_id=96, user_id=100)


def build():
    columns = [SparseFeat(name, size, embedding_dim='auto') for name, size in VOCABULARY.items()]
    return DeepFM(columns + [DenseFeat('timestamp'), DenseFeat('popularity')])


def step(model):
    sparse = torch.stack([torch.randint(0, size, (32,)) for size in VOCABULARY.values()], 1).float()
    X = torch.cat([sparse, torch.rand(32, 2)], 1)
    y = torch.randint(0, 2, (32, 1)).float()
    return F.binary_cross_entropy(model(X).squeeze(), y.squeeze())


# real fix: one embedding_dim for all fields, the FM interaction needs it (a fixed number in place of "auto")
# offending tensor: the third embedding (32, 1, 12) beside (32, 1, 6)
TRUTH = dict(raises='RuntimeError', at='function:cat',
             culprits=['embedding_dict.gender', 'embedding_dict.age', 'embedding_dict.occupation',
                       'embedding_dict.movie_id', 'embedding_dict.user_id'], dim=2, got=12, wanted=6,
             hint_any=['embedding_dim', '12', 'embedding'])
MENDED = [("embedding_dim='auto')", 'embedding_dim=8)')]
