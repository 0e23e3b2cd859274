import math

import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Domain alignment: a classifier on the source, an entropic transport cost between source and target features by log-domain Sinkhorn.'


class Features(nn.Module):
    def __init__(self, i=12, d=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(i, 32), nn.ReLU(), nn.Linear(32, d))

    def forward(self, x):
        return self.net(x)


class Adapt(nn.Module):
    def __init__(self, d=16, classes=5):
        super().__init__()
        self.features, self.cls = Features(d=d), nn.Linear(d, classes)

    def forward(self, src, tgt):
        fs, ft = self.features(src), self.features(tgt)
        return self.cls(fs), fs, ft


def cost_matrix(a, b):
    return a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T


def sinkhorn(cost, eps=1.0, rounds=15):
    n, m = cost.shape
    log_a, log_b = -math.log(n), -math.log(m)
    f, g = torch.zeros(n), torch.zeros(m)
    with torch.no_grad():
        for _ in range(rounds):
            f = eps * (log_a - torch.logsumexp((g[None, :] - cost) / eps, dim=1))
            g = eps * (log_b - torch.logsumexp((f[:, None] - cost) / eps, dim=0))
        plan = torch.exp((f[:, None] + g[None, :] - cost) / eps)
    return (plan * cost).sum()


def build():
    return Adapt()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    src, tgt, y = torch.randn(20, 12), torch.randn(28, 12) + 0.5, torch.randint(0, 5, (20,))
    logits, fs, ft = model(src, tgt)
    loss = nn.functional.cross_entropy(logits, y) + 0.1 * sinkhorn(cost_matrix(fs, ft))
    opt.zero_grad()
    loss.backward()
    opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
