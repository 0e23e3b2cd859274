import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Two-tower retrieval with a hand-written unit norm and in-batch softmax over cosine similarities.'


class Dense(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.w = nn.Parameter(torch.randn(i, o) * i ** -0.5)
        self.b = nn.Parameter(torch.zeros(o))

    def forward(self, x):
        return x @ self.w + self.b


def unit(v, eps=1e-6):
    return v / v.pow(2).sum(0, keepdim=True).add(eps).sqrt()


class Tower(nn.Module):
    def __init__(self, n_ids, n_feat, dim):
        super().__init__()
        self.table = nn.Parameter(torch.randn(n_ids, dim) * 0.1)
        self.mix = Dense(dim + n_feat, dim)
        self.out = Dense(dim, dim)

    def forward(self, ids, feat):
        h = torch.cat([self.table[ids], feat], -1)
        return unit(self.out(torch.relu(self.mix(h))))


class TwoTower(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.user = Tower(100, 5, dim)
        self.item = Tower(300, 9, dim)
        self.log_t = nn.Parameter(torch.tensor(2.0))

    def forward(self, u, uf, i, itf):
        return torch.einsum('ud,id->ui', self.user(u, uf), self.item(i, itf)) * self.log_t.exp()


class InBatchSoftmax:
    def __call__(self, sim):
        pos = sim.diagonal()
        rows = sim.logsumexp(1) - pos
        cols = sim.logsumexp(0) - pos
        return 0.5 * (rows.mean() + cols.mean())


def loader(n=64, batch=32):
    data = TensorDataset(torch.randint(0, 100, (n,)), torch.randn(n, 5), torch.randint(0, 300, (n,)), torch.randn(n, 9))
    return DataLoader(data, batch_size=batch)


def build():
    return TwoTower()


def step(model):
    batch = next(iter(loader()))
    return InBatchSoftmax()(model(*batch))


# unit() divides by the norm over the batch (dim 0); the similarity sums over the features (dim -1)
TRUTH = dict(raises=None, at='function:div', culprits=['function:div', 'function:sum', 'function:sqrt', 'function:pow', 'function:add', 'user', 'item'],
             dim=0, got=32, wanted=24, hint_any=['norm', 'dim=1', 'dim=-1', 'batch'])
MENDED = [('v.pow(2).sum(0, keepdim=True)', 'v.pow(2).sum(-1, keepdim=True)')]
