"""Correct training steps: reinforcement learning, GAN, teachers, meta-learning."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F


def net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def gan():
    G = nn.Linear(8, 8)
    D = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    b = nn.BCELoss()
    og = torch.optim.Adam(G.parameters())
    od = torch.optim.Adam(D.parameters())
    for _ in range(2):
        real = torch.randn(8, 8)
        z = torch.randn(8, 8)
        one = torch.ones(8, 1)
        zero = torch.zeros(8, 1)
        od.zero_grad()
        fake = G(z)
        (b(D(real), one) + b(D(fake.detach()), zero)).backward()
        od.step()
        og.zero_grad()
        b(D(fake), one).backward()
        og.step()


def a2c():
    m = nn.Linear(4, 8)
    pi = nn.Linear(8, 2)
    v = nn.Linear(8, 1)
    T, N = (8, 8)
    obs = torch.zeros(T, N, 4)
    acts = torch.zeros(T, N, dtype=torch.long)
    vals = torch.zeros(T, N)
    rew = torch.zeros(T, N)
    for t in range(T):
        obs[t] = torch.randn(N, 4)
        with torch.no_grad():
            h = torch.tanh(m(obs[t]))
            d = torch.distributions.Categorical(logits=pi(h))
            a = d.sample()
            acts[t] = a
            vals[t] = v(h).flatten()
        rew[t] = torch.randn(N)
    adv = torch.zeros_like(rew)
    last = 0
    for t in reversed(range(T)):
        nv = vals[t + 1] if t + 1 < T else torch.zeros(N)
        last = rew[t] + 0.99 * nv - vals[t] + 0.95 * 0.99 * last
        adv[t] = last
    ret = adv + vals
    o = obs.reshape(-1, 4)
    h = torch.tanh(m(o))
    d = torch.distributions.Categorical(logits=pi(h))
    lp = d.log_prob(acts.reshape(-1))
    ad = adv.reshape(-1)
    ad = (ad - ad.mean()) / (ad.std() + 1e-08)
    loss = (
        -(lp * ad).mean()
        + 0.5 * ((v(h).view(-1) - ret.reshape(-1)) ** 2).mean()
        - 0.01 * d.entropy().mean()
    )
    loss.backward()


def ema():
    s = net()
    t = copy.deepcopy(s)
    for p in t.parameters():
        p.requires_grad_(False)
    o = torch.optim.SGD(s.parameters(), 0.1)
    for _ in range(3):
        x = torch.randn(4, 8)
        with torch.no_grad():
            y = t(x + 0.1)
        loss = F.mse_loss(s(x), y)
        o.zero_grad()
        loss.backward()
        o.step()
        with torch.no_grad():
            for a, b in zip(t.parameters(), s.parameters()):
                a.mul_(0.99).add_(b, alpha=0.01)


def ema_data():
    s = net()
    t = copy.deepcopy(s)
    o = torch.optim.SGD(s.parameters(), 0.1)
    for _ in range(2):
        x = torch.randn(4, 8)
        loss = F.mse_loss(s(x), t(x).detach())
        o.zero_grad()
        loss.backward()
        o.step()
        for a, b in zip(t.parameters(), s.parameters()):
            a.data = a.data * 0.99 + b.data * 0.01


def maml():
    m = net()
    outer = 0
    for _ in range(2):
        p = dict(m.named_parameters())
        loss = F.mse_loss(
            torch.func.functional_call(m, p, (torch.randn(4, 8),)), torch.randn(4, 4)
        )
        g = torch.autograd.grad(loss, p.values(), create_graph=True)
        p2 = {k: v - 0.1 * gg for (k, v), gg in zip(p.items(), g)}
        outer = outer + F.mse_loss(
            torch.func.functional_call(m, p2, (torch.randn(4, 8),)), torch.randn(4, 4)
        )
    outer.backward()


def ppo_minibatch():
    net = nn.Linear(8, 4)
    old = torch.zeros(64)
    obs = torch.zeros(64, 8)
    act = torch.zeros(64, dtype=torch.long)
    for i in range(64):
        o = torch.randn(8)
        obs[i] = o
        with torch.no_grad():
            d = torch.distributions.Categorical(logits=net(o))
            a = d.sample()
            old[i] = d.log_prob(a)
            act[i] = a
    adv = torch.randn(64)
    for idx in torch.randperm(64).split(16):
        d = torch.distributions.Categorical(logits=net(obs[idx]))
        r = (d.log_prob(act[idx]) - old[idx]).exp()
        A = adv[idx]
        (-torch.min(r * A, r.clamp(0.8, 1.2) * A).mean()).backward()


def dqn():
    q = net()
    tq = net()
    mem = [
        (torch.randn(8), torch.randint(4, (1,)), torch.randn(1), torch.randn(8))
        for _ in range(8)
    ]
    s, a, r, n = (torch.stack(v) for v in zip(*mem))
    qv = q(s).gather(1, a)
    with torch.no_grad():
        y = r + 0.9 * tq(n).max(1, keepdim=True).values
    F.smooth_l1_loss(qv, y).backward()


def dqn_cat():
    q = net()
    tq = net()
    mem = [
        (torch.randn(1, 8), torch.tensor([[1]]), torch.tensor([0.5]), torch.randn(1, 8))
        for _ in range(8)
    ]
    s, a, r, n = (torch.cat(v) for v in zip(*mem))
    qv = q(s).gather(1, a)
    y = r + 0.9 * tq(n).max(1).values.detach()
    F.smooth_l1_loss(qv, y.unsqueeze(1)).backward()


def reinforce():
    p = nn.Linear(4, 2)
    lps = []
    rs = []
    for _ in range(8):
        d = torch.distributions.Categorical(logits=p(torch.randn(4)))
        a = d.sample()
        lps.append(d.log_prob(a))
        rs.append(1.0)
    R = torch.tensor(rs)
    R = R.flip(0).cumsum(0).flip(0)
    R = (R - R.mean()) / (R.std() + 1e-09)
    (-(torch.stack(lps) * R).sum()).backward()


def gauss_policy():
    mu = nn.Linear(8, 3)
    ls = nn.Parameter(torch.zeros(3))
    o = torch.randn(24, 8)
    d = torch.distributions.Normal(mu(o), ls.exp())
    a = d.sample()
    lp = d.log_prob(a).sum(-1)
    adv = torch.randn(24)
    (-(lp * adv).mean()).backward()


def gauss_1():
    mu = nn.Linear(8, 1)
    o = torch.randn(24, 8)
    d = torch.distributions.Normal(mu(o), 1.0)
    a = d.rsample()
    (a**2).mean().backward()
