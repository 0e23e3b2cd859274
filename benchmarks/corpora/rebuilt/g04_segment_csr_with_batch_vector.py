import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/6965'
CATEGORY = 'loss'
DESCRIPTION = 'GIN graph classification: global_add_pool replaced by segment_csr, which is given the batch vector (one entry a node) instead of ptr (graphs + 1).'


class Batch:
    def __init__(self, x, edge_index, batch, ptr, y):
        self.x, self.edge_index, self.batch, self.ptr, self.y = x, edge_index, batch, ptr, y


def collate(sizes, num_features, num_classes):
    xs, edges, batch, ptr = [], [], [], [0]
    for g, n in enumerate(sizes):
        xs.append(torch.randn(n, num_features))
        edges.append(torch.randint(0, n, (2, 3 * n)) + ptr[-1])
        batch += [g] * n
        ptr.append(ptr[-1] + n)
    return Batch(torch.cat(xs), torch.cat(edges, 1), torch.tensor(batch), torch.tensor(ptr), torch.randint(0, num_classes, (len(sizes),)))


def segment_csr(src, indptr):
    total = F.pad(src.cumsum(0), (0, 0, 1, 0))
    return total[indptr[1:]] - total[indptr[:-1]]


class GINConv(nn.Module):
    def __init__(self, mlp, eps=0.):
        super().__init__()
        self.nn = mlp
        self.eps = eps

    def forward(self, x, edge_index):
        row, col = edge_index
        out = torch.zeros_like(x).index_add(0, col, x[row])
        return self.nn(out + (1 + self.eps) * x)


class MLP(nn.Module):
    def __init__(self, channels, dropout=0., norm=True):
        super().__init__()
        self.lins = nn.ModuleList(nn.Linear(i, o) for i, o in zip(channels[:-1], channels[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) for o in channels[1:-1]) if norm else None
        self.dropout = dropout

    def forward(self, x):
        for i, lin in enumerate(self.lins[:-1]):
            x = lin(x)
            if self.norms is not None:
                x = self.norms[i](x)
            x = F.dropout(x.relu(), self.dropout, self.training)
        return self.lins[-1](x)


class Net(nn.Module):
    def __init__(self, in_channels, hidden_channels, out_channels, num_layers):
        super().__init__()
        self.convs = nn.ModuleList()
        for _ in range(num_layers):
            self.convs.append(GINConv(MLP([in_channels, hidden_channels, hidden_channels])))
            in_channels = hidden_channels
        self.mlp = MLP([hidden_channels, hidden_channels, out_channels], dropout=0.5, norm=False)

    def forward(self, x, edge_index, batch):
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        x = segment_csr(x, batch)
        x = self.mlp(x)
        return x.log_softmax(dim=-1)


def build():
    torch.manual_seed(0)
    return Net(5, 16, 5, num_layers=3)


def step(model):
    data = collate([9, 14, 11, 7, 12, 8, 10, 13], 5, 5)
    out = model(data.x, data.edge_index, data.batch)
    return F.nll_loss(out, data.y)


# real fix: segment_csr(x, data.ptr): "you need to pass `ptr` from the `Batch` object to this function rather than `batch`"
# 84 nodes give 83 "segments" for 8 labels
TRUTH = dict(raises='ValueError', at='loss:nll_loss', culprits=['function:getitem', 'function:sub', 'input'], dim=0, got=83, wanted=8,
             hint_any=['ptr', 'pool', 'batch', '83', 'segment', 'getitem', 'slic', 'index'])
MENDED = [('out = model(data.x, data.edge_index, data.batch)', 'out = model(data.x, data.edge_index, data.ptr)')]
