import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pyg-team/pytorch_geometric/issues/619'
CATEGORY = 'layer'
DESCRIPTION = 'Graph convolution with cached=True: the edge norms of the first (training) batch are used for a validation batch with fewer graphs.'


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels, cached=False):
        super().__init__()
        self.cached, self.cached_result = cached, None
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    @staticmethod
    def norm(edge_index, num_nodes):
        loop = torch.arange(num_nodes)
        edge_index = torch.cat([edge_index, torch.stack([loop, loop])], dim=1)
        row, col = edge_index
        deg = torch.zeros(num_nodes).scatter_add_(0, row, torch.ones(row.numel()))
        inv = deg.pow(-0.5)
        return inv[row] * inv[col]

    def forward(self, x, edge_index):
        x = self.lin(x)
        if not self.cached or self.cached_result is None:
            self.cached_result = self.norm(edge_index, x.size(0))
        norm = self.cached_result
        loop = torch.arange(x.size(0))
        edge_index = torch.cat([edge_index, torch.stack([loop, loop])], dim=1)
        row, col = edge_index
        messages = norm.view(-1, 1) * x[col]
        return torch.zeros_like(x).index_add_(0, row, messages) + self.bias


class Net(nn.Module):
    def __init__(self, features=3, hidden=16):
        super().__init__()
        self.conv1 = GCNConv(features, hidden, cached=True)
        self.conv2 = GCNConv(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x, edge_index):
        x = F.elu(self.conv1(x, edge_index))
        x = F.dropout(self.norm(F.elu(self.conv2(x, edge_index))), 0.3, self.training)
        return self.out(x).squeeze(-1)


def collate(graphs, n=21):
    full = torch.combinations(torch.arange(n), 2).t()
    full = torch.cat([full, full.flip(0)], dim=1)
    return torch.randn(graphs * n, 3), torch.cat([full + i * n for i in range(graphs)], dim=1), torch.randn(graphs * n)


def run(model, loader):
    total = 0.
    for x, edge_index, y in loader:
        total = total + F.mse_loss(model(x, edge_index), y)
    return total / len(loader)


def build():
    return Net()


def step(model):
    train_loader = [collate(5), collate(5)]
    val_loader = [collate(1)]
    loss = run(model, train_loader)
    return loss + 0.1 * run(model, val_loader)


# real fix: cached=False (answer of the maintainer: remove the flag, it is for one fixed graph)
# offending tensor: norm (2205,), 441 edges in this batch
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['conv1', 'function:view'], dim=0, got=2205, wanted=441,
             hint_any=['cache', 'earlier', 'state', 'first call', 'batch'])
MENDED = [('GCNConv(features, hidden, cached=True)', 'GCNConv(features, hidden)')]
