import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/1690'
CATEGORY = 'layer'
DESCRIPTION = 'Graph regression over 24 nodes flattens the node features with view(-1), which merges the graphs of a batch.'


class Data:
    def __init__(self, x, edge_index, y):
        self.x, self.edge_index, self.y = x, edge_index, y


class Batch(Data):
    @classmethod
    def from_data_list(cls, items):
        xs, es, ys, offset = [], [], [], 0
        for d in items:
            xs.append(d.x)
            es.append(d.edge_index + offset)
            ys.append(d.y)
            offset += d.x.size(0)
        out = cls(torch.cat(xs), torch.cat(es, dim=1), torch.cat(ys))
        out.num_graphs = len(items)
        return out


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, edge_index):
        n = x.size(0)
        loop = torch.arange(n)
        row = torch.cat([edge_index[0], loop])
        col = torch.cat([edge_index[1], loop])
        deg = torch.zeros(n).scatter_add_(0, col, torch.ones(col.numel()))
        norm = deg[row].rsqrt() * deg[col].rsqrt()
        h = self.lin(x)
        out = torch.zeros(n, h.size(1)).index_add(0, col, h[row] * norm.unsqueeze(1))
        return out + self.bias


class StabilityNet(nn.Module):
    def __init__(self, num_nodes=24, num_features=3, hidden=8):
        super().__init__()
        self.conv1 = GCNConv(num_features, hidden)
        self.conv2 = GCNConv(hidden, hidden)
        self.fc1 = nn.Linear(num_nodes * hidden, 48)
        self.fc2 = nn.Linear(48, 1)

    def forward(self, data):
        x = torch.tanh(self.conv1(data.x, data.edge_index))
        x = torch.tanh(self.conv2(x, data.edge_index))
        x = self.fc1(x.view(-1))
        x = F.dropout(F.relu(x), 0.1, self.training)
        return torch.sigmoid(self.fc2(x))


def tactile_graph(stable):
    src = torch.arange(24)
    ring = torch.stack([src, (src + 1) % 24])
    edge_index = torch.cat([ring, ring.flip(0)], dim=1)
    return Data(torch.randn(24, 3), edge_index, torch.tensor([[float(stable)]]))


def build():
    torch.manual_seed(0)
    return StabilityNet()


def step(model):
    sample = Batch.from_data_list([tactile_graph(0), tactile_graph(1)])
    out = model(sample)
    return F.binary_cross_entropy(out, sample.y)


# real fix: x.view(data.num_graphs, -1)
TRUTH = dict(raises='RuntimeError', at='module:fc1', culprits=['function:view'], dim=0, got=384, wanted=192,
             hint_any=['batch', 'view', 'flatten', 'merge', 'num_graphs', 'view(2'])
MENDED = [('self.fc1(x.view(-1))', 'self.fc1(x.view(data.num_graphs, -1))')]
