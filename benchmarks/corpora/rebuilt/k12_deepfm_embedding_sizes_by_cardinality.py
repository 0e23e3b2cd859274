from collections import OrderedDict, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/shenweichen/DeepCTR/issues/184'
CATEGORY = 'layer'
DESCRIPTION = 'DeepFM: embedding_dim follows the number of values of each feature (27, 50, 12, 7 ...), the FM part stacks all embeddings of the group.'


class SparseFeat(namedtuple('SparseFeat', ['name', 'vocabulary_size', 'embedding_dim', 'group_name'])):
    def __new__(cls, name, vocabulary_size, embedding_dim=4, group_name='default_group'):
        return super().__new__(cls, name, vocabulary_size, embedding_dim, group_name)


class DenseFeat(namedtuple('DenseFeat', ['name', 'dimension'])):
    def __new__(cls, name, dimension=1):
        return super().__new__(cls, name, dimension)


def build_input_features(feature_columns):
    features, start = OrderedDict(), 0
    for feat in feature_columns:
        width = 1 if isinstance(feat, SparseFeat) else feat.dimension
        features[feat.name] = (start, start + width)
        start += width
    return features


def create_embedding_matrix(feature_columns, linear=False):
    sparse = [x for x in feature_columns if isinstance(x, SparseFeat)]
    matrix = nn.ModuleDict({f.name: nn.Embedding(f.vocabulary_size, 1 if linear else f.embedding_dim) for f in sparse})
    for tensor in matrix.values():
        nn.init.normal_(tensor.weight, mean=0, std=1e-2)
    return matrix


class Linear(nn.Module):
    def __init__(self, feature_columns, feature_index):
        super().__init__()
        self.feature_index = feature_index
        self.dense = [x for x in feature_columns if isinstance(x, DenseFeat)]
        self.embedding_dict = create_embedding_matrix(feature_columns, linear=True)
        self.weight = nn.Parameter(torch.randn(sum(x.dimension for x in self.dense), 1) * 1e-2)

    def forward(self, X):
        logit = torch.zeros(X.shape[0], 1)
        emb = [e(X[:, slice(*self.feature_index[n])].long()) for n, e in self.embedding_dict.items()]
        logit = logit + torch.sum(torch.cat(emb, dim=-1), dim=-1)
        return logit + torch.cat([X[:, slice(*self.feature_index[d.name])] for d in self.dense], dim=-1).matmul(self.weight)


class FM(nn.Module):
    def forward(self, inputs):
        square_of_sum = torch.pow(torch.sum(inputs, dim=1, keepdim=True), 2)
        sum_of_square = torch.sum(inputs * inputs, dim=1, keepdim=True)
        return 0.5 * torch.sum(square_of_sum - sum_of_square, dim=2, keepdim=False)


class DNN(nn.Module):
    def __init__(self, inputs_dim, hidden_units, dropout_rate=0.1):
        super().__init__()
        hidden_units = [inputs_dim] + list(hidden_units)
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in zip(hidden_units, hidden_units[1:])])
        self.dropout = nn.Dropout(dropout_rate)

    def forward(self, x):
        for linear in self.linears:
            x = self.dropout(F.relu(linear(x)))
        return x


class DeepFM(nn.Module):
    def __init__(self, linear_feature_columns, dnn_feature_columns, use_fm=True, dnn_hidden_units=(64, 32)):
        super().__init__()
        self.feature_index = build_input_features(linear_feature_columns)
        self.dnn_feature_columns = dnn_feature_columns
        self.embedding_dict = create_embedding_matrix(dnn_feature_columns)
        self.linear_model = Linear(linear_feature_columns, self.feature_index)
        self.use_fm = use_fm
        if use_fm:
            self.fm = FM()
        width = sum(f.embedding_dim if isinstance(f, SparseFeat) else f.dimension for f in dnn_feature_columns)
        self.dnn = DNN(width, dnn_hidden_units)
        self.dnn_linear = nn.Linear(dnn_hidden_units[-1], 1, bias=False)
        self.out = nn.Parameter(torch.zeros(1))

    def input_from_feature_columns(self, X):
        sparse = [f for f in self.dnn_feature_columns if isinstance(f, SparseFeat)]
        dense = [f for f in self.dnn_feature_columns if isinstance(f, DenseFeat)]
        emb = [self.embedding_dict[f.name](X[:, slice(*self.feature_index[f.name])].long()) for f in sparse]
        return emb, [X[:, slice(*self.feature_index[f.name])] for f in dense]

    def forward(self, X):
        sparse_embedding_list, dense_value_list = self.input_from_feature_columns(X)
        logit = self.linear_model(X)
        if self.use_fm and len(sparse_embedding_list) > 0:
            fm_input = torch.cat(sparse_embedding_list, dim=1)
            logit = logit + self.fm(fm_input)
        dnn_input = torch.cat([torch.cat(sparse_embedding_list, dim=-1).flatten(1), torch.cat(dense_value_list, dim=-1)], dim=-1)
        logit = logit + self.dnn_linear(self.dnn(dnn_input))
        return torch.sigmoid(logit + self.out)


NUNIQUE = OrderedDict(C1=27, C2=92, C3=172, C4=157, C5=12, C6=7, C7=183)
DENSE = ['I%d' % i for i in range(1, 6)]


def build():
    fixlen_feature_columns = [SparseFeat(feat, n, embedding_dim=min(50, round(n ** 0.5 * 2))) for feat, n in NUNIQUE.items()]
    fixlen_feature_columns += [DenseFeat(feat, 1) for feat in DENSE]
    return DeepFM(fixlen_feature_columns, fixlen_feature_columns)


def step(model):
    X = torch.cat([torch.randint(0, n, (64, 1)).float() for n in NUNIQUE.values()] + [torch.rand(64, len(DENSE))], dim=1)
    y = torch.randint(0, 2, (64, 1)).float()
    y_pred = model(X).squeeze()
    return F.binary_cross_entropy(y_pred, y.squeeze(), reduction='sum')


# real fix: all features of the FM need one embedding_dim (4)
# offending tensor: embeddings (64, 1, 10), (64, 1, 19), (64, 1, 26) ...
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['embedding_dict.C2', 'embedding_dict.C1', 'embedding_dict', '', 'function:cat'], dim=2, got=19, wanted=10,
             hint_any=['embedding', 'same', '10', '19'])
MENDED = [('embedding_dim=min(50, round(n ** 0.5 * 2))', 'embedding_dim=4')]
