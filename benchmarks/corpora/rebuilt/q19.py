import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/355'
CATEGORY = 'loss'
DESCRIPTION = 'Neighbour sampling on a large graph: the network returns a row for every sampled node (several hundred), the loss takes the labels of the 100 seed nodes.'


class DataFlow:
    def __init__(self, n_id, seeds, edge_index):
        self.n_id, self.seeds, self.edge_index = n_id, seeds, edge_index


class NeighborSampler:
    def __init__(self, edge_index, num_nodes, size=(4, 3), batch_size=100):
        self.size, self.batch_size, self.num_nodes = size, batch_size, num_nodes
        order = edge_index[1].argsort()
        self.src, self.dst = edge_index[0][order], edge_index[1][order]

    def __call__(self, mask):
        ids = mask.nonzero().view(-1)
        for seeds in ids[torch.randperm(len(ids))].split(self.batch_size):
            frontier, nodes, edges = seeds, [seeds], []
            for k in self.size:
                hit = torch.isin(self.dst, frontier).nonzero().view(-1)
                hit = hit[torch.randperm(len(hit))[:k * len(frontier)]]
                edges.append(torch.stack([self.src[hit], self.dst[hit]]))
                frontier = self.src[hit].unique()
                nodes.append(frontier)
            rest = torch.cat(nodes[1:]).unique()
            n_id = torch.cat([seeds, rest[~torch.isin(rest, seeds)]])
            local = torch.full((self.num_nodes,), -1)
            local[n_id] = torch.arange(len(n_id))
            yield DataFlow(n_id, seeds, local[torch.cat(edges, 1)])


class SAGEConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin_l, self.lin_r = nn.Linear(i, o), nn.Linear(i, o, bias=False)

    def forward(self, x, edge_index):
        src, dst = edge_index
        total = torch.zeros_like(x).index_add_(0, dst, x[src])
        count = torch.bincount(dst, minlength=x.size(0)).clamp(min=1).unsqueeze(1)
        return self.lin_l(total / count) + self.lin_r(x)


class SAGENet(nn.Module):
    def __init__(self, in_channels, out_channels, hidden=24):
        super().__init__()
        self.conv1, self.conv2 = SAGEConv(in_channels, hidden), SAGEConv(hidden, out_channels)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, x, data_flow):
        x = x[data_flow.n_id]
        x = F.relu(self.norm(self.conv1(x, data_flow.edge_index)))
        x = F.dropout(x, p=0.5, training=self.training)
        x = self.conv2(x, data_flow.edge_index)
        return F.log_softmax(x, dim=1)


def train(model, data, loader):
    total_loss = 0
    for data_flow in loader(data['train_mask']):
        out = model(data['x'], data_flow)
        loss = F.nll_loss(out, data['y'][data_flow.seeds])
        total_loss = total_loss + loss * len(data_flow.seeds)
    return total_loss / int(data['train_mask'].sum())


def build():
    return SAGENet(16, 7)


def step(model):
    n = 1000
    data = dict(x=torch.randn(n, 16), y=torch.randint(0, 7, (n,)), train_mask=torch.arange(n) < 200)
    edge_index = torch.randint(0, n, (2, 6 * n))
    return train(model, data, NeighborSampler(edge_index, n))


# real fix: only the rows of the seed nodes, which come first: out[:len(data_flow.seeds)]
# offending tensor: out (n sampled nodes, 7), 100 rows expected
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['', 'function:getitem', 'target', 'input'], dim=0, got=None, wanted=100,
             hint_any=['seed', 'getitem', 'index', 'slice', 'rows', '[:100]', 'node'])
MENDED = [('F.nll_loss(out, ', 'F.nll_loss(out[:len(data_flow.seeds)], ')]
