import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/1813'
CATEGORY = 'loss'
DESCRIPTION = 'Graph classification runs for an epoch and stops in a later one, when the shuffled batch ends with a certain graph.'


class Data:
    def __init__(self, x, edge_index, y):
        self.x, self.edge_index, self.y = x, edge_index, y

    @property
    def num_nodes(self):
        return self.x.size(0)


class Batch:
    def __init__(self, x, edge_index, y, batch, num_graphs):
        self.x, self.edge_index, self.y, self.batch, self.num_graphs = x, edge_index, y, batch, num_graphs

    @classmethod
    def from_data_list(cls, data_list):
        xs, edges, ys, batch, offset = [], [], [], [], 0
        for i, data in enumerate(data_list):
            xs.append(data.x)
            edges.append(data.edge_index + offset)
            ys.append(data.y)
            batch.append(torch.full((data.num_nodes,), i, dtype=torch.long))
            offset += data.num_nodes
        return cls(torch.cat(xs), torch.cat(edges, dim=1), torch.cat(ys), torch.cat(batch), len(data_list))


def parse_graph(confidence, threshold=0.5, num_features=8):
    """one node for each detection above the threshold, fully connected"""
    n = int((confidence > threshold).sum())
    row, col = torch.meshgrid(torch.arange(n), torch.arange(n), indexing='ij')
    keep = row != col
    return Data(torch.randn(n, num_features), torch.stack([row[keep], col[keep]]), torch.randint(0, 3, (1,)))


def global_add_pool(x, batch, size=None):
    size = int(batch.max()) + 1 if size is None else size
    return x.new_zeros(size, x.size(1)).index_add(0, batch, x)


class GraphConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin_rel = nn.Linear(in_channels, out_channels)
        self.lin_root = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x, edge_index):
        row, col = edge_index
        aggr = torch.zeros_like(x).index_add(0, col, x[row])
        return self.lin_rel(aggr) + self.lin_root(x)


class Net(nn.Module):
    def __init__(self, num_features, hidden, num_classes, num_layers=3):
        super().__init__()
        dims = [num_features] + [hidden] * num_layers
        self.convs = nn.ModuleList([GraphConv(a, b) for a, b in zip(dims[:-1], dims[1:])])
        self.lin1 = nn.Linear(hidden, hidden)
        self.lin2 = nn.Linear(hidden, num_classes)

    def forward(self, x, edge_index, batch):
        outs = 0
        for conv in self.convs:
            x = F.relu(conv(x, edge_index))
            outs = outs + global_add_pool(x, batch)
        x = F.relu(self.lin1(outs))
        x = F.dropout(x, p=0.1, training=self.training)
        return F.log_softmax(self.lin2(x), dim=-1)


def build():
    return Net(num_features=8, hidden=16, num_classes=3)


def step(model):
    scores = [torch.linspace(0.1, 0.9, n) for n in (6, 9, 4, 11, 5, 8, 7)]
    scores.append(torch.linspace(0.1, 0.4, 5))
    data = Batch.from_data_list([parse_graph(s) for s in scores])
    out = model(data.x, data.edge_index, data.batch)
    return F.nll_loss(out, data.y)


# real cause: the last graph of the batch has no nodes, so batch.max() + 1 is too small; pass size=data.num_graphs, or leave such graphs out
# offending tensor: out (7, 3) against 8 labels
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['function:new_zeros', 'function:index_add', 'function:max', 'input'],
             dim=0, got=7, wanted=8, hint_any=['empty', 'no node', 'size=', 'num_graphs', 'max', 'number of graphs', 'pool'])
MENDED = [('outs = outs + global_add_pool(x, batch)', 'outs = outs + global_add_pool(x, batch, 8)')]
