"""Correct losses by hand: pairs of all kinds, mixtures, weights, smoothing.

Each takes a batch, a number of steps and a width, and gives the models and a step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def mlp(given, hidden, made):
    return nn.Sequential(nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, made))


def chamfer(batch, steps, width):
    m = mlp(3, width, 3)
    x = torch.randn(batch, steps, 3)
    y = torch.randn(batch, steps, 3)

    def step():
        p = m(x)
        d = ((p[:, :, None] - y[:, None]) ** 2).sum(-1)
        return d.min(2)[0].mean() + d.min(1)[0].mean()

    return (m, step)


def iou_pairwise(batch, steps, width):
    m = mlp(width, 8, 4)
    x = torch.randn(steps, width)
    y = torch.rand(steps, 4)

    def step():
        p = m(x).sigmoid()
        lt = torch.max(p[:, None, :2], y[:, :2])
        rb = torch.min(p[:, None, 2:] + 1, y[:, 2:] + 1)
        wh = (rb - lt).clamp(min=0)
        inter = wh[..., 0] * wh[..., 1]
        a = (p[:, 2:] + 1 - p[:, :2]).prod(1)
        b = (y[:, 2:] + 1 - y[:, :2]).prod(1)
        iou = inter / (a[:, None] + b - inter)
        return (1 - iou.max(1)[0]).mean()

    return (m, step)


def infonce(batch, steps, width):
    m = mlp(width, 8, width)
    a, b = torch.randn(2, batch, width)

    def step():
        z1, z2 = (F.normalize(m(a), dim=-1), F.normalize(m(b), dim=-1))
        loss = z1 @ z2.t() / 0.1
        y = torch.arange(batch)
        return (F.cross_entropy(loss, y) + F.cross_entropy(loss.t(), y)) / 2

    return (m, step)


def supcon(batch, steps, width):
    m = mlp(width, 8, width)
    x = torch.randn(batch, width)
    y = torch.arange(batch) % 2

    def step():
        z = F.normalize(m(x), dim=1)
        s = z @ z.T / 0.1
        eye = torch.eye(batch, dtype=torch.bool)
        s = s.masked_fill(eye, -1000000000.0)
        pos = (y[:, None] == y[None]) & ~eye
        lp = s - s.logsumexp(1, keepdim=True)
        return -((lp * pos).sum(1) / pos.sum(1).clamp(min=1)).mean()

    return (m, step)


def mdn(batch, steps, width):
    K = width
    m = mlp(steps, 8, 3 * K)
    x = torch.randn(batch, steps)
    y = torch.randn(batch, 1)

    def step():
        pi, mu, ls = m(x).chunk(3, 1)
        lp = torch.distributions.Normal(mu, ls.exp()).log_prob(y)
        return -torch.logsumexp(pi.log_softmax(1) + lp, 1).mean()

    return (m, step)


def vae(batch, steps, width):
    class V(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = mlp(steps, 8, 2 * width)
            self.d = mlp(width, 8, steps)

        def forward(self, x):
            mu, lv = self.e(x).chunk(2, -1)
            z = mu + torch.randn_like(mu) * (lv / 2).exp()
            return (self.d(z), mu, lv)

    m = V()
    x = torch.randn(batch, steps)

    def step():
        r, mu, lv = m(x)
        return (
            F.mse_loss(r, x, reduction="sum") / batch
            - 0.5 * (1 + lv - mu**2 - lv.exp()).sum(1).mean()
        )

    return (m, step)


def focal(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    al = torch.rand(3)

    def step():
        ce = F.cross_entropy(m(x), y, reduction="none")
        pt = (-ce).exp()
        return (al[y] * (1 - pt) ** 2 * ce).mean()

    return (m, step)


def dice(batch, steps, width):
    m = nn.Conv2d(3, 4, 1)
    x = torch.randn(batch, 3, steps, width)
    y = torch.randint(0, 4, (batch, steps, width))

    def step():
        p = m(x).softmax(1)
        t = F.one_hot(y, 4).permute(0, 3, 1, 2).float()
        i = (p * t).sum((0, 2, 3))
        u = (p + t).sum((0, 2, 3))
        return 1 - (2 * i / u).mean()

    return (m, step)


def label_smoothing(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))

    def step():
        lp = m(x).log_softmax(-1)
        nll = -lp.gather(1, y[:, None]).squeeze(1)
        return (0.9 * nll - 0.1 * lp.mean(-1)).mean()

    return (m, step)


def distill(batch, steps, width):
    s, te = (mlp(width, 8, 3), mlp(width, 8, 3))
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))

    def step():
        o = s(x)
        with torch.no_grad():
            q = te(x)
        return F.kl_div(
            F.log_softmax(o / 2, 1), F.softmax(q / 2, 1), reduction="batchmean"
        ) * 4 + F.cross_entropy(o, y)

    return (s, step)


def weighted_loss(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    w = torch.rand(batch)
    return (m, lambda: (F.cross_entropy(m(x), y, reduction="none") * w).sum() / w.sum())


def loss_times_scalar_weights(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    w = torch.tensor([0.3, 0.7])

    def step():
        o = m(x)
        return torch.stack([F.cross_entropy(o, y), (o**2).mean()]).mul(w).sum()

    return (m, step)


def instance_standardise(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    return (m, lambda: F.cross_entropy(m((x - x.mean(0)) / x.std(0)), y))


def gram_style(batch, steps, width):
    c = nn.Conv2d(3, width, 3, padding=1)
    x, y = torch.randn(2, batch, 3, 8, 8)

    def gram(z):
        z = z.flatten(2)
        return z @ z.mT / z.size(-1)

    return (c, lambda: F.mse_loss(gram(c(x)), gram(c(y)).detach()))


def mmd(batch, steps, width):
    m = mlp(width, 8, 8)
    a, b = torch.randn(2, batch, width)

    def k(x, y):
        return (-((x[:, None] - y[None]) ** 2).sum(-1)).exp().mean()

    def step():
        x, y = (m(a), m(b))
        return k(x, x) + k(y, y) - 2 * k(x, y)

    return (m, step)


def sinkhorn(batch, steps, width):
    m = mlp(width, 8, 8)
    a, b = torch.randn(2, batch, width)

    def step():
        C = torch.cdist(m(a), m(b))
        K = -C / 0.1
        u = torch.zeros(batch)
        v = torch.zeros(batch)
        for _ in range(3):
            u = -torch.logsumexp(K + v[None], 1)
            v = -torch.logsumexp(K + u[:, None], 0)
        return ((K + u[:, None] + v[None]).exp() * C).sum()

    return (m, step)


def ranking_pairs(batch, steps, width):
    m = mlp(width, 8, 1)
    x = torch.randn(batch, width)
    y = torch.rand(batch)

    def step():
        s = m(x).squeeze(1)
        ds = s[:, None] - s[None]
        dy = torch.sign(y[:, None] - y[None])
        return F.relu(0.1 - dy * ds).mean()

    return (m, step)
