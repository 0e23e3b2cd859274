"""Correct layers: windows, patches, graphs, slots, normalisations.

Each takes a batch, a number of steps and a width, and gives the models and a step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.classified import classified


def mlp(given, hidden, made):
    return nn.Sequential(nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, made))


def swin(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Conv2d(3, 8, 1)
            self.q = nn.Linear(8, 24)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            x = self.p(x).permute(0, 2, 3, 1)
            b, h, w, c = x.shape
            x = torch.roll(x, (-1, -1), (1, 2))
            x = (
                x.view(b, h // 2, 2, w // 2, 2, c)
                .permute(0, 1, 3, 2, 4, 5)
                .reshape(-1, 4, c)
            )
            q, k, v = self.q(x).reshape(-1, 4, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
            a = (q @ k.mT).softmax(-1) @ v
            x = (
                a.transpose(1, 2)
                .reshape(-1, 4, c)
                .view(b, h // 2, w // 2, 2, 2, c)
                .permute(0, 1, 3, 2, 4, 5)
                .reshape(b, h, w, c)
            )
            return self.o(x.mean((1, 2)))

    m = M()
    x = torch.randn(batch, 3, 8, 8)
    return classified(m, x)


def vit(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = nn.Conv2d(3, 8, 4, 4)
            self.cls = nn.Parameter(torch.zeros(1, 1, 8))
            self.pos = nn.Parameter(torch.zeros(1, 5, 8))
            self.e = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2
            )
            self.h = nn.Linear(8, 3)

        def forward(self, x):
            x = self.p(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
            return self.h(self.e(x)[:, 0])

    m = M()
    x = torch.randn(batch, 3, 8, 8)
    return classified(m, x)


def gnn(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(width, 8)
            self.b = nn.Linear(8, 3)

        def forward(self, x, e):
            h = F.relu(self.a(x))
            agg = torch.zeros_like(h).index_add_(0, e[1], h[e[0]])
            deg = torch.zeros(len(x)).scatter_add_(0, e[1], torch.ones(e.size(1)))
            return self.b(agg / deg.clamp(min=1)[:, None])

    m = M()
    x = torch.randn(steps, width)
    e = torch.randint(0, steps, (2, 3 * steps))
    y = torch.randint(0, 3, (steps,))
    keep = torch.arange(steps) < steps - 1
    return (m, lambda: F.cross_entropy(m(x, e)[keep], y[keep]))


def gat(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Linear(width, 8)
            self.a = nn.Linear(8, 1)
            self.b = nn.Linear(8, 1)
            self.o = nn.Linear(8, 3)

        def forward(self, x, adj):
            h = self.w(x)
            e = F.leaky_relu(self.a(h) + self.b(h).mT, 0.2).masked_fill(
                adj == 0, -1000000000.0
            )
            return self.o(e.softmax(-1) @ h)

    m = M()
    x = torch.randn(steps, width)
    adj = (torch.rand(steps, steps) > 0.5).float() + torch.eye(steps)
    y = torch.randint(0, 3, (steps,))
    return (m, lambda: F.cross_entropy(m(x, adj), y))


def batchnorm_channels(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(width, 8)
            self.bn = nn.BatchNorm1d(8)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            h = self.bn(self.a(x).transpose(1, 2)).transpose(1, 2)
            return self.o(h.mean(1))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x)


def mlp_mixer(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1 = nn.LayerNorm(width)
            self.t = mlp(steps, 8, steps)
            self.n2 = nn.LayerNorm(width)
            self.c = mlp(width, 8, width)
            self.o = nn.Linear(width, 3)

        def forward(self, x):
            x = x + self.t(self.n1(x).transpose(1, 2)).transpose(1, 2)
            x = x + self.c(self.n2(x))
            return self.o(x.mean(1))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x)


def bn_over_joints(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm1d(steps)
            self.c = nn.Conv1d(steps, 8, 1)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            return self.o(self.c(self.bn(x)).mean(2))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x)


def vq(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 8)
            self.c = nn.Embedding(10, 8)
            self.d = nn.Linear(8, width)

        def forward(self, x):
            z = self.e(x)
            f = z.reshape(-1, 8)
            d = (
                f.pow(2).sum(1, keepdim=True)
                + self.c.weight.pow(2).sum(1)
                - 2 * f @ self.c.weight.t()
            )
            q = self.c(d.argmin(1)).view_as(z)
            loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(q.detach(), z)
            return (self.d(z + (q - z).detach()), loss)

    m = M()
    x = torch.randn(batch, steps, width)

    def step():
        r, loss = m(x)
        return F.mse_loss(r, x) + loss

    return (m, step)


def slot_attention(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (
                nn.Linear(8, 8),
                nn.Linear(width, 8),
                nn.Linear(width, 8),
            )
            self.slots = nn.Parameter(torch.randn(1, 3, 8))
            self.g = nn.GRUCell(8, 8)
            self.o = nn.Linear(8, 2)

        def forward(self, x):
            k, v = (self.k(x), self.v(x))
            sl = self.slots.expand(len(x), -1, -1)
            for _ in range(2):
                a = (k @ self.q(sl).mT).softmax(-1) + 1e-08
                a = a / a.sum(1, keepdim=True)
                u = a.mT @ v
                sl = self.g(u.reshape(-1, 8), sl.reshape(-1, 8)).view_as(sl)
            return self.o(sl.mean(1))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x, 2)


def per_token_decoder_to_grid(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 8)
            self.d = nn.Linear(8, 3 * 16)

        def forward(self, x):
            return self.d(self.e(x).mean(1)).view(-1, 3, 4, 4)

    m = M()
    x = torch.randn(batch, steps, width)
    y = torch.randn(batch, 3, 4, 4)
    return (m, lambda: F.mse_loss(m(x), y))


def soft_codes(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 6)
            self.c = nn.Parameter(torch.randn(6, 8))
            self.d = nn.Linear(8, width)

        def forward(self, x):
            return self.d(F.gumbel_softmax(self.e(x), dim=-1) @ self.c)

    m = M()
    x = torch.randn(batch, steps, width)
    return (m, lambda: F.mse_loss(m(x), x))


def parallel_heads(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.ModuleList(
                (nn.Conv1d(width, 8, k, padding=k // 2) for k in (1, 3, 5))
            )
            self.o = nn.Linear(24, 3)

        def forward(self, x):
            h = x.transpose(1, 2)
            return self.o(torch.cat([F.relu(c(h)).amax(2) for c in self.c], 1))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x)


def moe(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.g = nn.Linear(width, 3)
            self.e = nn.ModuleList((nn.Linear(width, 8) for _ in range(3)))
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            w = self.g(x).softmax(-1)
            h = torch.stack([e(x) for e in self.e], 1)
            return self.o((w[..., None] * h).sum(1))

    m = M()
    x = torch.randn(batch, width)
    return classified(m, x)


def stochastic_depth_unused(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList((nn.Linear(width, width) for _ in range(4)))
            self.o = nn.Linear(width, 3)

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                if i != 2:
                    x = x + F.relu(layer(x))
            return self.o(x)

    m = M()
    x = torch.randn(batch, width)
    return classified(m, x)
