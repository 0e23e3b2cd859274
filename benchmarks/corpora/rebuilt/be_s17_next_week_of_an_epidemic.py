import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/benedekrozemberczki/pytorch_geometric_temporal/issues/61'
CATEGORY = 'layer'
DESCRIPTION = 'Cases per region: people moving between regions are edges of a graph, the cases of the past days are the features of a region.'


class StaticGraphTemporalSignal:
    def __init__(self, edge_index, edge_weight, features, targets):
        self.edge_index, self.edge_weight, self.features, self.targets = edge_index, edge_weight, features, targets

    def __iter__(self):
        for x, y in zip(self.features, self.targets):
            yield x, self.edge_index, self.edge_weight, y


def load(num_regions, num_edges, lags, weeks=5):
    g = torch.Generator().manual_seed(1)
    edge_index = torch.randint(0, num_regions, (2, num_edges), generator=g)
    cases = torch.randn(weeks + lags, num_regions, generator=g)
    features = [cases[i:i + lags].t() for i in range(weeks)]
    targets = [cases[i + lags] for i in range(weeks)]
    return StaticGraphTemporalSignal(edge_index, torch.rand(num_edges, generator=g), features, targets)


class ChickenpoxDatasetLoader:
    def get_dataset(self, lags=4):
        return load(20, 102, lags)


class EnglandCovidDatasetLoader:
    def get_dataset(self, lags=8):
        return load(129, 1500, lags)


class DConv(nn.Module):
    def __init__(self, in_channels, out_channels, K):
        super().__init__()
        self.K = K
        self.weight = nn.Parameter(torch.empty(2, K, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, X, edge_index, edge_weight):
        n = X.shape[0]
        adj = torch.zeros(n, n).index_put((edge_index[0], edge_index[1]), edge_weight, accumulate=True)
        P_o = adj / adj.sum(1, keepdim=True).clamp(min=1e-6)
        P_i = adj.t() / adj.sum(0).unsqueeze(1).clamp(min=1e-6)
        H = torch.matmul(X, self.weight[0][0]) + torch.matmul(X, self.weight[1][0])
        Tx_o, Tx_i = X, X
        for k in range(1, self.K):
            Tx_o, Tx_i = P_o @ Tx_o, P_i @ Tx_i
            H = H + torch.matmul(Tx_o, self.weight[0][k]) + torch.matmul(Tx_i, self.weight[1][k])
        return H + self.bias


class DCRNN(nn.Module):
    def __init__(self, in_channels, out_channels, K):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.conv_x_z = DConv(in_channels + out_channels, out_channels, K)
        self.conv_x_r = DConv(in_channels + out_channels, out_channels, K)
        self.conv_x_h = DConv(in_channels + out_channels, out_channels, K)

    def forward(self, X, edge_index, edge_weight, H=None):
        if H is None:
            H = torch.zeros(X.shape[0], self.out_channels)
        Z = torch.sigmoid(self.conv_x_z(torch.cat([X, H], dim=1), edge_index, edge_weight))
        R = torch.sigmoid(self.conv_x_r(torch.cat([X, H], dim=1), edge_index, edge_weight))
        H_tilde = torch.tanh(self.conv_x_h(torch.cat([X, H * R], dim=1), edge_index, edge_weight))
        return Z * H + (1 - Z) * H_tilde


class RecurrentGCN(nn.Module):
    def __init__(self, node_features):
        super().__init__()
        self.recurrent = DCRNN(node_features, 32, 1)
        self.linear = nn.Linear(32, 1)

    def forward(self, x, edge_index, edge_weight):
        h = self.recurrent(x, edge_index, edge_weight)
        h = F.relu(h)
        return self.linear(h)


def build():
    torch.manual_seed(0)
    return RecurrentGCN(node_features=4)


def step(model):
    dataset = EnglandCovidDatasetLoader().get_dataset()
    cost = 0
    for time, (x, edge_index, edge_attr, y) in enumerate(dataset):
        y_hat = model(x, edge_index, edge_attr)
        cost = cost + torch.mean((y_hat.squeeze(-1) - y) ** 2)
    return cost / (time + 1)


# node_features=4 was right for chickenpox, this data set has 8 lags (129x40 and 36x32)
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['recurrent', 'recurrent.conv_x_z', 'input', ''], dim=1, got=40, wanted=36,
             hint_any=['node_features', 'in_channels', '40'])
MENDED = [('RecurrentGCN(node_features=4)', 'RecurrentGCN(node_features=8)')]
