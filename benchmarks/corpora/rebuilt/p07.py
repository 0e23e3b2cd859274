import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/982'
CATEGORY = 'loss'
DESCRIPTION = 'Graph classification on an own data set: the collate function leaves the batch vector at None, the pooling reads four graphs as one.'


class Data:
    def __init__(self, x, edge_index, y, batch=None):
        self.x, self.edge_index, self.y, self.batch = x, edge_index, y, batch


class GraphConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.rel, self.root = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, x, edge_index):
        row, col = edge_index
        return self.rel(torch.zeros_like(x).index_add_(0, row, x[col])) + self.root(x)


def scatter_mean(x, batch):
    n = int(batch.max()) + 1
    total = torch.zeros(n, x.size(1)).index_add_(0, batch, x)
    return total / torch.bincount(batch, minlength=n).clamp(min=1).unsqueeze(1)


def global_max_pool(x, batch):
    return torch.stack([x[batch == i].max(0)[0] for i in range(int(batch.max()) + 1)])


class Net(nn.Module):
    def __init__(self, num_features=4, num_classes=2, hidden=32):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = GraphConv(num_features, hidden), GraphConv(hidden, hidden), GraphConv(hidden, hidden)
        self.lin1, self.lin2, self.lin3 = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, 16), nn.Linear(16, num_classes)

    def readout(self, x, batch):
        return torch.cat([global_max_pool(x, batch), scatter_mean(x, batch)], dim=1)

    def forward(self, data):
        x, edge_index, batch = data.x, data.edge_index, data.batch
        if batch is None:
            batch = torch.zeros(x.size(0), dtype=torch.long)
        outs = []
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x, edge_index))
            outs.append(self.readout(x, batch))
        x = sum(outs)
        x = F.dropout(F.relu(self.lin1(x)), 0.5, self.training)
        return F.log_softmax(self.lin3(F.relu(self.lin2(x))), dim=-1)


def make_graph(label):
    n = int(torch.randint(8, 15, (1,)))
    return Data(torch.randn(n, 4), torch.randint(0, n, (2, 3 * n)), torch.tensor([label]))


def collate(graphs):
    xs, edges, ys, ids, offset = [], [], [], [], 0
    for i, g in enumerate(graphs):
        xs.append(g.x)
        edges.append(g.edge_index + offset)
        ys.append(g.y)
        ids.append(torch.full((g.x.size(0),), i))
        offset += g.x.size(0)
    return Data(torch.cat(xs), torch.cat(edges, 1), torch.cat(ys))


def build():
    return Net()


def step(model):
    data = collate([make_graph(label) for label in (0, 0, 1, 1)])
    output = model(data)
    return F.nll_loss(output, data.y)


# real fix: hand on the batch vector, Data(..., torch.cat(ids))
# offending tensor: output (1, 2), (4, 2) expected
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['', 'function:zeros', 'function:stack', 'input'], dim=0, got=1, wanted=4,
             hint_any=['batch', 'pool', 'graph', 'stack'])
MENDED = [('torch.cat(edges, 1), torch.cat(ys))', 'torch.cat(edges, 1), torch.cat(ys), torch.cat(ids))')]
