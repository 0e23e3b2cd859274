import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'Message passing over batched molecules, regression with a predicted variance, loss in a class.'


def random_graphs(n=10):
    sizes = torch.randint(4, 9, (n,)).tolist()
    owner = torch.repeat_interleave(torch.arange(n), torch.tensor(sizes))
    edges, first = [], 0
    for s in sizes:
        ring = torch.arange(s)
        edges.append(torch.stack([ring, (ring + 1) % s]) + first)
        first += s
    edges = torch.cat(edges, 1)
    edges = torch.cat([edges, edges.flip(0)], 1)
    return dict(x=torch.randn(sum(sizes), 11), edges=edges, owner=owner, n=n, y=torch.randn(n))


class Message(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.msg = nn.Linear(2 * dim, dim)
        self.upd = nn.GRUCell(dim, dim)

    def forward(self, h, edges):
        src, dst = edges
        m = torch.relu(self.msg(torch.cat([h[src], h[dst]], -1)))
        return self.upd(torch.zeros_like(h).index_add(0, dst, m), h)


class MolNet(nn.Module):
    def __init__(self, dim=18):
        super().__init__()
        self.embed = nn.Linear(11, dim)
        self.mp = Message(dim)
        self.read = nn.Linear(dim, 2)

    def forward(self, g, rounds=3):
        h = self.embed(g['x'])
        for _ in range(rounds):
            h = self.mp(h, g['edges'])
        pooled = torch.zeros(g['n'], h.size(1)).index_add(0, g['owner'], h)
        mean, raw = self.read(pooled).split(1, dim=1)
        return mean, raw


class Heteroscedastic:
    def __init__(self, floor=1e-3):
        self.floor = floor

    def __call__(self, pred, y):
        mean, raw = pred
        var = nn.functional.softplus(raw) + self.floor
        return self.reduce(torch.log(var), self.residual(mean, y), var)

    @staticmethod
    def residual(mean, y):
        return (y - mean).square()

    @staticmethod
    def reduce(logvar, res, var):
        return (0.5 * (logvar + res / var)).mean()


def build():
    return MolNet()


def step(model):
    g = random_graphs()
    return Heteroscedastic()(model(g), g['y'])


# mean is (10, 1), y is (10,): the residual is a (10, 10) matrix
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub', 'function:split', 'read', 'target'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', 'unsqueeze', '(10, 10)'])
MENDED = [("(model(g), g['y'])", "(model(g), g['y'].unsqueeze(1))")]
