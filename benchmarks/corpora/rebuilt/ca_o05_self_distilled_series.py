import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'BYOL for sensor windows: online network with a predictor, an EMA copy as teacher, both directions, one optimizer step and the update of the copy.'


class Encoder(nn.Module):
    def __init__(self, ch=6, dim=24):
        super().__init__()
        self.a, self.b = nn.Conv1d(ch, 16, 5, stride=2), nn.Conv1d(16, 24, 5, stride=2)
        self.norm, self.proj = nn.LayerNorm(24), nn.Linear(24, dim)

    def forward(self, x):
        h = F.gelu(self.b(F.gelu(self.a(x)))).mean(-1)
        return self.proj(self.norm(h))


class BYOL(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.online = Encoder(dim=dim)
        self.predictor = nn.Sequential(nn.Linear(dim, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, dim))
        self.slow = copy.deepcopy(self.online).requires_grad_(False)

    def learned(self):
        return [*self.online.parameters(), *self.predictor.parameters()]

    @torch.no_grad()
    def follow(self, m=0.99):
        for s, o in zip(self.slow.parameters(), self.online.parameters()):
            s.mul_(m).add_(o, alpha=1 - m)

    def forward(self, a, b):
        pa, pb = self.predictor(self.online(a)), self.predictor(self.online(b))
        with torch.no_grad():
            ta, tb = self.slow(a), self.slow(b)
        return regress(pa, tb) + regress(pb, ta)


def regress(p, t):
    return (2 - 2 * (F.normalize(p, dim=-1) * F.normalize(t, dim=-1)).sum(-1)).mean()


def jitter(x):
    return x * (1 + 0.1 * torch.randn(x.size(0), x.size(1), 1)) + 0.05 * torch.randn_like(x)


def build():
    return BYOL()


def step(model):
    opt = torch.optim.AdamW(model.learned(), lr=1e-3)
    for _ in range(2):
        x = torch.randn(24, 6, 64)
        loss = model(jitter(x), jitter(x))
        opt.zero_grad()
        loss.backward()
        opt.step()
        model.follow()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
