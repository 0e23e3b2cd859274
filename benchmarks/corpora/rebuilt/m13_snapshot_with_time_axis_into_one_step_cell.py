import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/benedekrozemberczki/pytorch_geometric_temporal/issues/54'
CATEGORY = 'layer'
DESCRIPTION = 'Traffic snapshots are (nodes, features, 12 steps); the recurrent graph cell takes one step (nodes, features) and joins it with its state.'


class DConv(nn.Module):
    def __init__(self, in_channels, out_channels, k):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, k, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.weight)

    def propagate(self, src, dst, norm, x):
        return torch.zeros_like(x).index_add(0, dst, x[src] * norm.unsqueeze(-1))

    def forward(self, x, edge_index, edge_weight):
        row, col = edge_index
        n = x.size(0)
        deg_out = torch.zeros(n).index_add(0, row, edge_weight).clamp(min=1e-6)
        deg_in = torch.zeros(n).index_add(0, col, edge_weight).clamp(min=1e-6)
        out = x @ self.weight[0, 0] + x @ self.weight[1, 0]
        fwd = bwd = x
        for k in range(1, self.weight.size(1)):
            fwd = self.propagate(row, col, edge_weight / deg_out[row], fwd)
            bwd = self.propagate(col, row, edge_weight / deg_in[col], bwd)
            out = out + fwd @ self.weight[0, k] + bwd @ self.weight[1, k]
        return out + self.bias


class DCRNN(nn.Module):
    def __init__(self, in_channels, out_channels, k):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.conv_x_z, self.conv_x_r, self.conv_x_h = (DConv(in_channels + out_channels, out_channels, k) for _ in range(3))

    def _set_hidden_state(self, X, H):
        if H is None:
            H = torch.zeros(X.shape[0], self.out_channels)
        return H

    def forward(self, X, edge_index, edge_weight=None, H=None):
        H = self._set_hidden_state(X, H)
        XH = torch.cat([X, H], dim=1)
        Z = torch.sigmoid(self.conv_x_z(XH, edge_index, edge_weight))
        R = torch.sigmoid(self.conv_x_r(XH, edge_index, edge_weight))
        candidate = torch.tanh(self.conv_x_h(torch.cat([X, H * R], dim=1), edge_index, edge_weight))
        return Z * H + (1 - Z) * candidate


class RecurrentGCN(nn.Module):
    def __init__(self, node_features, horizon=12):
        super().__init__()
        self.recurrent = DCRNN(node_features, 32, 1)
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(32, horizon)

    def forward(self, x, edge_index, edge_weight):
        h = self.recurrent(x, edge_index, edge_weight)
        h = self.dropout(F.relu(h))
        return self.linear(h)


def snapshots(n=3, nodes=207, edges=1722, features=2, steps=12):
    edge_index, edge_attr = torch.randint(0, nodes, (2, edges)), torch.rand(edges)
    for _ in range(n):
        yield torch.randn(nodes, features, steps), edge_index, edge_attr, torch.randn(nodes, steps)


def build():
    return RecurrentGCN(node_features=2)


def step(model):
    cost = 0
    for time, (x, edge_index, edge_attr, y) in enumerate(snapshots()):
        y_hat = model(x, edge_index, edge_attr)
        cost = cost + torch.mean((y_hat - y) ** 2)
    return cost / (time + 1)


# real fix: the steps have to go through the cell one after another, with its state
# offending tensor: X (207, 2, 12), H (207, 32)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', '', 'recurrent', 'function:zeros'], dim=None, got=None, wanted=None,
             hint_any=['time', 'step', '3', 'dimension', 'input'])
MENDED = [('        h = self.recurrent(x, edge_index, edge_weight)\n',
  '        h = None\n        for t in range(x.size(-1)):\n            h = self.recurrent(x[..., t], edge_index, edge_weight, h)\n')]
