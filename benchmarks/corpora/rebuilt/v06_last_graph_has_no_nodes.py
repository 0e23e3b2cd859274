from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/1813 (the same in #915, #2895, #6737)'
CATEGORY = 'loss'
DESCRIPTION = 'The pooling takes the number of graphs from batch.max() + 1; the last graph of the batch has no nodes, one row is missing.'


@dataclass
class Data:
    x: torch.Tensor
    edge_index: torch.Tensor
    y: torch.Tensor


@dataclass
class Batch:
    x: torch.Tensor
    edge_index: torch.Tensor
    y: torch.Tensor
    batch: torch.Tensor
    num_graphs: int


def collate(graphs):
    xs, edges, owner, offset = [], [], [], 0
    for i, g in enumerate(graphs):
        xs.append(g.x)
        edges.append(g.edge_index + offset)
        owner.append(torch.full((len(g.x),), i))
        offset += len(g.x)
    return Batch(torch.cat(xs), torch.cat(edges, 1), torch.cat([g.y for g in graphs]), torch.cat(owner), len(graphs))


def keep_confident(graph, threshold=0.1):
    """Drop the detections of low confidence (last feature) and their edges."""
    keep = graph.x[:, -1] > threshold
    index = keep.cumsum(0) - 1
    row, col = graph.edge_index
    alive = keep[row] & keep[col]
    return Data(graph.x[keep], index[graph.edge_index[:, alive]], graph.y)


class GraphConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin_rel = nn.Linear(in_channels, out_channels)
        self.lin_root = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x, edge_index):
        row, col = edge_index
        aggr = torch.zeros_like(x).index_add(0, col, x[row])
        return self.lin_rel(aggr) + self.lin_root(x)


def global_mean_pool(x, batch, size=None):
    size = int(batch.max()) + 1 if size is None else size
    total = x.new_zeros(size, x.size(-1)).index_add(0, batch, x)
    count = x.new_zeros(size).index_add(0, batch, torch.ones_like(batch, dtype=x.dtype))
    return total / count.clamp(min=1)[:, None]


class Net(nn.Module):
    def __init__(self, num_features, hidden, num_classes, layers=3):
        super().__init__()
        self.convs = nn.ModuleList(GraphConv(num_features if i == 0 else hidden, hidden) for i in range(layers))
        self.lin1, self.lin2 = nn.Linear(hidden, hidden // 2), nn.Linear(hidden // 2, num_classes)

    def forward(self, data):
        x = data.x
        for conv in self.convs:
            x = F.relu(conv(x, data.edge_index))
        x = global_mean_pool(x, data.batch)
        x = F.relu(self.lin1(x))
        return F.log_softmax(self.lin2(x), dim=-1)


def make_dataset():
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for n in (6, 9, 5, 7, 8, 6, 10, 4):
        x = torch.rand(n, 8, generator=generator)
        x[:, -1] = 0.5 * x[:, -1] + 0.4
        graphs.append(Data(x, torch.randint(0, n, (2, 3 * n), generator=generator), torch.randint(0, 7, (1,), generator=generator)))
    graphs[-1].x[:, -1] = 0.02
    return [keep_confident(g) for g in graphs]


def build():
    return Net(num_features=8, hidden=32, num_classes=7)


def step(model):
    data = collate(make_dataset())
    return F.nll_loss(model(data), data.y)


# real fix: tell the pooling the number of graphs, size=data.num_graphs (or drop graphs without nodes)
# offending tensor: the pooled rows (7, 32), 8 graphs and 8 labels
TRUTH = dict(raises='ValueError', at='loss:nll_loss',
             culprits=['function:max', 'function:new_zeros', 'function:index_add', 'input'], dim=0, got=7, wanted=8,
             hint_any=['batch.max', 'new_zeros', 'size=', 'num_graphs', 'index_add'])
MENDED = [('x = global_mean_pool(x, data.batch)', 'x = global_mean_pool(x, data.batch, data.num_graphs)')]
