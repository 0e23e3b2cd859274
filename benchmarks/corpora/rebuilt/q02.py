import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/guokan987/DGCN/issues/6'
CATEGORY = 'layer'
DESCRIPTION = 'Traffic graph network: the series come from 37 sensors, the adjacency matrix is that of another data set with 17: Chebyshev terms of unlike sizes.'

DATASETS = {'pems08': dict(num_nodes=17), 'electricity': dict(num_nodes=37)}
config = dict(dataset='electricity', adj_dataset='pems08', features=1, hidden=16, K=3, T_in=12, T_out=12, batch_size=4)


def load_adjacency(name):
    n = DATASETS[name]['num_nodes']
    a = (torch.rand(n, n) > 0.7).float()
    a = ((a + a.t()) > 0).float()
    return a / a.sum(1, keepdim=True).clamp(min=1)


class ChebConv(nn.Module):
    def __init__(self, c_in, c_out, K, num_nodes):
        super().__init__()
        self.K, self.num_nodes = K, num_nodes
        self.conv = nn.Conv2d(c_in * K, c_out, 1)

    def forward(self, x, adj):
        L0 = torch.eye(self.num_nodes)
        L1 = adj
        terms = [L0, L1]
        for _ in range(2, self.K):
            L2 = 2 * torch.matmul(adj, L1) - L0
            L0, L1 = L1, L2
            terms.append(L2)
        out = [torch.einsum('bcnt,nm->bcmt', x, t) for t in terms]
        return self.conv(torch.cat(out, dim=1))


class STBlock(nn.Module):
    def __init__(self, c_in, c_out, K, num_nodes):
        super().__init__()
        self.gate = nn.Conv2d(c_in, 2 * c_out, (1, 3), padding=(0, 1))
        self.gcn = ChebConv(c_out, c_out, K, num_nodes)
        self.skip = nn.Conv2d(c_in, c_out, 1)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x, adj):
        a, b = self.gate(x).chunk(2, dim=1)
        h = torch.tanh(a) * torch.sigmoid(b)
        return self.bn(F.leaky_relu(self.gcn(h, adj)) + self.skip(x))


class DGCN(nn.Module):
    def __init__(self, num_nodes, features, hidden, K, T_in, T_out):
        super().__init__()
        self.block1 = STBlock(features, hidden, K, num_nodes)
        self.block2 = STBlock(hidden, hidden, K, num_nodes)
        self.end = nn.Conv2d(T_in, T_out, (1, hidden))

    def forward(self, x, adj):
        x = self.block2(self.block1(x, adj), adj)
        return self.end(x.permute(0, 3, 2, 1)).squeeze(-1)


def build():
    c = config
    return DGCN(DATASETS[c['dataset']]['num_nodes'], c['features'], c['hidden'], c['K'], c['T_in'], c['T_out'])


def step(model):
    n = DATASETS[config['dataset']]['num_nodes']
    x = torch.randn(config['batch_size'], 1, n, config['T_in'])
    y = torch.randn(config['batch_size'], config['T_out'], n)
    adj = load_adjacency(config['adj_dataset'])
    return F.smooth_l1_loss(model(x, adj), y)


# real fix: the adjacency matrix of the data set that is trained on
# offending tensor: adj (17, 17), 37 nodes expected
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['input', 'function:matmul'], dim=None, got=17, wanted=37,
             hint_any=['adj', 'node', 'eye', 'input'])
MENDED = [("adj_dataset='pems08'", "adj_dataset='electricity'")]
