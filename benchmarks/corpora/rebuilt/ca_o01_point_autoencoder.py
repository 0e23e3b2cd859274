import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Point-cloud autoencoder with a Chamfer distance written by hand, explicit axes on lines of their own.'


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.a, self.b = nn.Linear(3, 24), nn.Linear(24, dim)

    def forward(self, pts):
        return self.b(F.relu(self.a(pts))).amax(1)


class Folding(nn.Module):
    """Bends a fixed grid into a shape."""

    def __init__(self, dim=32, side=6):
        super().__init__()
        u = torch.linspace(-1, 1, side)
        self.register_buffer('grid', torch.cartesian_prod(u, u))
        self.one, self.two = nn.Linear(dim + 2, 32), nn.Linear(32, 3)

    def forward(self, code):
        n = self.grid.size(0)
        grid = self.grid.unsqueeze(0).expand(code.size(0), -1, -1)
        code = code.unsqueeze(1).expand(-1, n, -1)
        return self.two(torch.tanh(self.one(torch.cat([code, grid], -1))))


class PointAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = Encoder(), Folding()

    def forward(self, pts):
        return self.dec(self.enc(pts))


def chamfer(a, b):
    rows = a[:, :, None]
    cols = b[:, None]
    dist = (rows - cols).square().sum(-1)
    there = dist.min(2).values.mean(1)
    back = dist.min(1).values.mean(1)
    return (there + back).mean()


def spheres(n=8, points=36):
    p = F.normalize(torch.randn(n, points, 3), dim=-1)
    return p * (0.5 + torch.rand(n, 1, 1))


def build():
    return PointAE()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        pts = spheres()
        loss = chamfer(model(pts), pts)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
