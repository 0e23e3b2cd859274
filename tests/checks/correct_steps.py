"""Correct training steps: converted models, second order, sequences, generation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def double():
    m = net().double()
    F.cross_entropy(m(torch.randn(4, 8).double()), torch.randint(4, (4,))).backward()


def to_half():
    m = net().to(torch.bfloat16)
    loss = F.cross_entropy(m(torch.randn(4, 8).bfloat16()), torch.randint(4, (4,)))
    loss.backward()


def channels_last():
    m = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4)).to(
        memory_format=torch.channels_last
    )
    loss = F.cross_entropy(m(torch.randn(4, 3, 8, 8)), torch.randint(4, (4,)))
    loss.backward()


def lbfgs():
    m = net()
    o = torch.optim.LBFGS(m.parameters(), max_iter=5)
    x, y = (torch.randn(4, 8), torch.randint(4, (4,)))

    def closure():
        o.zero_grad()
        loss = F.cross_entropy(m(x), y)
        loss.backward()
        return loss

    for _ in range(3):
        o.step(closure)


def lbfgs_strong():
    m = net().double()
    o = torch.optim.LBFGS(m.parameters(), max_iter=5, line_search_fn="strong_wolfe")
    x, y = (torch.randn(4, 8).double(), torch.randint(4, (4,)))

    def closure():
        o.zero_grad()
        loss = F.cross_entropy(m(x), y)
        print(loss.item())
        loss.backward()
        return loss

    for _ in range(3):
        o.step(closure)
    with torch.no_grad():
        F.cross_entropy(m(x), y).item()


def gradpen():
    m = net()
    x = torch.randn(4, 8, requires_grad=True)
    o = m(x).sum(1)
    (g,) = torch.autograd.grad(o.sum(), x, create_graph=True)
    ((g.norm(dim=1) - 1) ** 2).mean().backward()


def printed():
    m = net()
    o = torch.optim.SGD(m.parameters(), 0.1)
    for i in range(3):
        loss = F.cross_entropy(m(torch.randn(4, 8)), torch.randint(4, (4,)))
        o.zero_grad()
        loss.backward()
        o.step()
        print(
            m[0].weight.data.mean().item(),
            m[2].bias.detach().numpy().tolist(),
            loss.item(),
        )


def validation():
    m = net()
    o = torch.optim.SGD(m.parameters(), 0.1)
    loss = F.cross_entropy(m(torch.randn(4, 8)), torch.randint(4, (4,)))
    loss.backward()
    o.step()
    m.eval()
    with torch.no_grad():
        F.cross_entropy(m(torch.randn(4, 8)), torch.randint(4, (4,)))


def tying():

    class M(nn.Module):

        def __init__(s):
            super().__init__()
            s.e = nn.Embedding(8, 8)
            s.r = nn.GRU(8, 8, batch_first=True)
            s.o = nn.Linear(8, 8, bias=False)
            s.o.weight = s.e.weight

        def forward(s, x):
            return s.o(s.r(s.e(x))[0])

    m = M()
    x = torch.randint(8, (8, 9))
    loss = m(x[:, :-1])
    F.cross_entropy(loss.reshape(-1, 8), x[:, 1:].reshape(-1)).backward()


def tying_perm():
    e = nn.Embedding(8, 8)
    x = torch.randint(8, (8, 9))
    h = e(x[:, :-1])
    loss = h @ e.weight.T
    F.cross_entropy(loss.transpose(1, 2), x[:, 1:]).backward()


def vae():
    e = nn.Linear(8, 16)
    d = nn.Linear(8, 8)
    x = torch.rand(8, 8)
    mu, lv = e(x).chunk(2, -1)
    z = mu + torch.randn_like(mu) * (0.5 * lv).exp()
    r = d(z)
    (
        F.binary_cross_entropy_with_logits(r, x, reduction="sum")
        - 0.5 * (1 + lv - mu**2 - lv.exp()).sum()
    ).backward()


def seqlstm():
    lstm = nn.LSTM(8, 8, batch_first=True)
    f = nn.Linear(8, 8)
    x = torch.randn(8, 8, 8)
    y = torch.randint(8, (8, 8))
    o = f(lstm(x)[0])
    F.cross_entropy(o.permute(0, 2, 1), y).backward()


def seqlstm_tm():
    lstm = nn.LSTM(8, 8)
    f = nn.Linear(8, 8)
    x = torch.stack([torch.randn(8, 8) for _ in range(8)], 1)
    y = torch.randint(8, (8, 8))
    o = f(lstm(x.transpose(0, 1))[0])
    F.cross_entropy(o.reshape(-1, 8), y.T.reshape(-1)).backward()


def truncated_bptt():
    lstm = nn.LSTM(8, 8)
    f = nn.Linear(8, 8)
    h = None
    opt = torch.optim.SGD([*lstm.parameters(), *f.parameters()], 0.1)
    data = torch.randint(8, (40, 8))
    e = nn.Embedding(8, 8)
    for i in range(0, 32, 8):
        x, y = (data[i : i + 8], data[i + 1 : i + 9])
        o, h = lstm(e(x), h)
        h = tuple((v.detach() for v in h))
        opt.zero_grad()
        F.cross_entropy(f(o).view(-1, 8), y.view(-1)).backward()
        opt.step()


def centered():
    x = torch.randn(8, 8)
    x = x - x.mean(0)
    m = nn.Linear(8, 8)
    F.mse_loss(m(x), torch.randn(8, 8)).backward()


def instance():
    x = torch.randn(8, 3, 8, 8)
    x = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    m = nn.Conv2d(3, 8, 8)
    F.cross_entropy(m(x).flatten(1), torch.randint(8, (8,))).backward()


def mixup():
    m = net()
    x = torch.randn(8, 8)
    y = torch.randint(4, (8,))
    p = torch.randperm(8)
    lam = 0.3
    o = m(lam * x + (1 - lam) * x[p])
    (lam * F.cross_entropy(o, y) + (1 - lam) * F.cross_entropy(o, y[p])).backward()


def kd():
    s, t = (net(), net())
    x = torch.randn(8, 8)
    T = 2.0
    with torch.no_grad():
        tl = t(x)
    loss = (
        F.kl_div(
            F.log_softmax(s(x) / T, 1), F.softmax(tl / T, 1), reduction="batchmean"
        )
        * T
        * T
    )
    (loss + F.cross_entropy(s(x), torch.randint(4, (8,)))).backward()


def physics():
    m = net()
    x = torch.rand(8, 8, requires_grad=True)
    u = m(x)[:, :1]
    g = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]
    g2 = torch.autograd.grad(g[:, 0].sum(), x, create_graph=True)[0]
    ((g2[:, :1] + u) ** 2).mean().backward()


def newton_hvp():
    m = net()
    ps = list(m.parameters())
    loss = F.mse_loss(m(torch.randn(4, 8)), torch.randn(4, 4))
    g = torch.autograd.grad(loss, ps, create_graph=True)
    v = [torch.randn_like(p) for p in ps]
    hv = torch.autograd.grad(sum(((a * b).sum() for a, b in zip(g, v))), ps)
    with torch.no_grad():
        for p, h in zip(ps, hv):
            p -= 0.1 * h
    F.mse_loss(m(torch.randn(4, 8)), torch.randn(4, 4)).backward()
