"""Correct comparisons of all kinds: distances, contrastive, transport, sets."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def chamfer1d():
    m = nn.Linear(3, 20)
    x = torch.randn(4, 3)
    t = torch.randn(4, 30)
    p = m(x)
    d = (p[:, :, None] - t[:, None, :]) ** 2
    (d.min(1).values.mean() + d.min(2).values.mean()).backward()


def chamfer1d_flat():
    p = nn.Linear(3, 20)(torch.randn(1, 3))[0]
    t = torch.randn(20)
    d = (p.unsqueeze(1) - t).abs()
    (d.min(1).values.mean() + d.min(0).values.mean()).backward()


def chamfer_lines():
    p = nn.Linear(3, 1)(torch.randn(12, 3))
    t = torch.randn(9)
    d = p - t
    d = d.abs()
    a = d.amin(1)
    b = d.amin(0)
    (a.mean() + b.mean()).backward()


def areas_of_all_pairs():
    a, b = nn.Linear(8, 4)(torch.randn(7, 8)).sigmoid(), torch.rand(7, 4)
    wide = torch.minimum(a[:, None, 2], b[None, :, 2])
    inter = (wide - torch.maximum(a[:, None, 0], b[None, :, 0])).clamp(min=0)
    area_a = (a[:, 2] - a[:, 0]).unsqueeze(1)
    area_b = b[:, 2] - b[:, 0]
    union = area_a + area_b - inter
    (1 - (inter / union).max(1).values).mean().backward()


def iou():
    m = nn.Linear(8, 4)
    b = m(torch.randn(6, 8))
    g = torch.rand(6, 4)
    lt = torch.maximum(b[:, None, :2], g[:, :2])
    rb = torch.minimum(b[:, None, 2:], g[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[..., 0] * wh[..., 1]
    a1 = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    a2 = (g[:, 2] - g[:, 0]) * (g[:, 3] - g[:, 1])
    a1 = a1.unsqueeze(1)
    union = a1 + a2 - inter
    (1 - (inter / union).max(1).values).mean().backward()


def contrastive():
    e = nn.Linear(8, 8)
    a = F.normalize(e(torch.randn(8, 8)), dim=1)
    b = F.normalize(e(torch.randn(8, 8)), dim=1)
    s = a @ b.T / 0.1
    loss = (
        F.cross_entropy(s, torch.arange(8)) + F.cross_entropy(s.T, torch.arange(8))
    ) / 2
    loss.backward()


def ntxent():
    e = nn.Linear(8, 8)
    x = torch.randn(8, 8)
    z = F.normalize(torch.cat([e(x), e(x + 0.1)]), dim=1)
    s = z @ z.T / 0.5
    s = s.masked_fill(torch.eye(16, dtype=torch.bool), -1000000000.0)
    y = (torch.arange(16) + 8) % 16
    F.cross_entropy(s, y).backward()


def supcon():
    e = nn.Linear(8, 8)
    z = F.normalize(e(torch.randn(8, 8)), dim=-1)
    y = torch.randint(3, (8,))
    m = (y[:, None] == y[None]).float()
    s = z @ z.T / 0.1
    s = s - s.max(1, keepdim=True).values.detach()
    lp = s - s.exp().sum(1, keepdim=True).log()
    (-(m * lp).sum(1) / m.sum(1)).mean().backward()


def triplet_hard():
    e = nn.Linear(8, 8)
    z = e(torch.randn(8, 8))
    y = torch.randint(3, (8,))
    d = torch.cdist(z, z)
    same = y.unsqueeze(0) == y.unsqueeze(1)
    pos = (d * same).max(1).values
    neg = (d + 1000.0 * same).min(1).values
    F.relu(pos - neg + 0.2).mean().backward()


def sinkhorn():
    e = nn.Linear(8, 8)
    x = e(torch.randn(8, 8))
    y = torch.randn(8, 8)
    C = ((x[:, None] - y[None]) ** 2).sum(-1)
    u = torch.zeros(8)
    v = torch.zeros(8)
    mu = torch.full((8,), 1 / 8).log()
    for _ in range(5):
        u = mu - torch.logsumexp(v - C, dim=1)
        v = mu - torch.logsumexp(u[:, None] - C, dim=0)
    P = (u[:, None] + v[None] - C).exp()
    (P * C).sum().backward()


def sinkhorn_swav():
    e = nn.Linear(8, 8)
    s = e(torch.randn(8, 8))
    with torch.no_grad():
        q = torch.exp(s / 0.05).T
        q /= q.sum()
        for _ in range(3):
            q /= q.sum(1, keepdim=True)
            q /= 8
            q /= q.sum(0, keepdim=True)
            q /= 8
        q = (q * 8).T
    (-(q * F.log_softmax(e(torch.randn(8, 8)), dim=1)).sum(1)).mean().backward()


def dino():
    s = nn.Linear(8, 8)
    t = nn.Linear(8, 8)
    c = torch.zeros(1, 8)
    x1, x2 = (torch.randn(8, 8), torch.randn(8, 8))
    with torch.no_grad():
        T = [F.softmax((t(x) - c) / 0.04, -1) for x in (x1, x2)]
    S = [F.log_softmax(s(x) / 0.1, -1) for x in (x1, x2)]
    loss = -(T[0] * S[1]).sum(-1).mean() - (T[1] * S[0]).sum(-1).mean()
    loss.backward()
    c = c * 0.9 + torch.cat(T).mean(0, keepdim=True) * 0.1


def setatt():
    q = nn.Parameter(torch.randn(1, 4, 8))
    m = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(4, 4, 8)
    o, _ = m(q.expand(4, -1, -1), x, x)
    F.cross_entropy(o.mean(1), torch.randint(8, (4,))).backward()


def slot():
    k, v, qq = (nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    x = torch.randn(8, 8, 8)
    s = torch.randn(8, 8, 8)
    K, V = (k(x), v(x))
    for _ in range(3):
        a = F.softmax(torch.einsum("bnd,bkd->bnk", K, qq(s)), -1)
        a = a / a.sum(1, keepdim=True)
        s = torch.einsum("bnk,bnd->bkd", a, V)
    F.mse_loss(s.mean(1), torch.randn(8, 8)).backward()


def moe():
    g = nn.Linear(8, 4)
    ex = nn.ModuleList((nn.Linear(8, 8) for _ in range(4)))
    x = torch.randn(8, 8)
    w = g(x).softmax(-1)
    y = sum((w[:, i : i + 1] * e(x) for i, e in enumerate(ex)))
    load = w.mean(0)
    aux = (load * load).sum()
    (F.mse_loss(y, torch.randn(8, 8)) + 0.01 * aux).backward()


def quantile():
    m = nn.Linear(8, 5)
    x = torch.randn(8, 8)
    y = torch.randn(8)
    q = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    e = y[:, None] - m(x)
    torch.maximum(q * e, (q - 1) * e).mean().backward()
