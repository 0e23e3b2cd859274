"""Correct learning: policies, values, rollouts, several tasks and models.

Each takes a batch, a number of steps and a width, and gives the models and a step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def mlp(given, hidden, made):
    return nn.Sequential(nn.Linear(given, hidden), nn.ReLU(), nn.Linear(hidden, made))


def value_keepdim(batch, steps, width):
    m = nn.ModuleList([mlp(width, 8, 3), mlp(width, 8, 1)])
    s = torch.randn(batch, width)
    a = torch.randint(0, 3, (batch,))
    r = torch.randn(batch, 1)

    def step():
        d = torch.distributions.Categorical(logits=m[0](s))
        v = m[1](s)
        adv = (r - v).detach()
        return -(d.log_prob(a).unsqueeze(-1) * adv).mean() + (r - v).pow(2).mean()

    return (m, step)


def ppo(batch, steps, width):
    m = nn.ModuleList([mlp(width, 8, 3), mlp(width, 8, 1)])
    s = torch.randn(batch, steps, width)
    a = torch.randint(0, 3, (batch, steps))
    old = torch.randn(batch, steps)
    ret = torch.randn(batch, steps)
    mask = torch.ones(batch, steps)

    def step():
        d = torch.distributions.Categorical(logits=m[0](s))
        v = m[1](s).squeeze(-1)
        adv = (ret - v).detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-08)
        ratio = (d.log_prob(a) - old).exp()
        pl = (
            -(torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv) * mask).sum()
            / mask.sum()
        )
        return (
            pl + ((v - ret) ** 2 * mask).sum() / mask.sum() - 0.01 * d.entropy().mean()
        )

    return (m, step)


def gaussian_policy(batch, steps, width):
    class P(nn.Module):
        def __init__(self):
            super().__init__()
            self.mu = mlp(width, 8, 3)
            self.ls = nn.Parameter(torch.zeros(3))
            self.v = mlp(width, 8, 1)

        def forward(self, x):
            return (
                torch.distributions.Normal(self.mu(x), self.ls.exp()),
                self.v(x).squeeze(-1),
            )

    m = P()
    x = torch.randn(batch, width)
    r = torch.randn(batch)

    def step():
        d, v = m(x)
        a = d.sample()
        lp = d.log_prob(a).sum(-1)
        return -(lp * (r - v).detach()).mean() + F.mse_loss(v, r)

    return (m, step)


def multitask(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = mlp(width, 8, 8)
            self.h = nn.ModuleList([nn.Linear(8, 3), nn.Linear(8, 1)])
            self.s = nn.Parameter(torch.zeros(2))

        def forward(self, x):
            f = self.b(x)
            return [h(f) for h in self.h]

    m = M()
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    z = torch.randn(batch, 1)

    def step():
        a, b = m(x)
        loss = torch.stack([F.cross_entropy(a, y), F.mse_loss(b, z)])
        return (loss * (-m.s).exp() + m.s).sum()

    return (m, step)


def gradnorm(batch, steps, width):
    b = mlp(width, 8, 8)
    h1, h2 = (nn.Linear(8, 3), nn.Linear(8, 1))
    w = nn.Parameter(torch.ones(2))
    m = nn.ModuleList([b, h1, h2])
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))
    z = torch.randn(batch)

    def step():
        f = b(x)
        ls = torch.stack([F.cross_entropy(h1(f), y), F.mse_loss(h2(f).squeeze(1), z)])
        tot = (w * ls).sum()
        g = torch.stack(
            [
                torch.autograd.grad(
                    w[i] * ls[i], b[2].weight, retain_graph=True, create_graph=True
                )[0].norm()
                for i in range(2)
            ]
        )
        gn = (
            (g - (g.mean() * (ls.detach() / ls.detach().mean()) ** 0.5).detach())
            .abs()
            .sum()
        )
        tot.backward(retain_graph=True)
        w.grad = torch.autograd.grad(gn, w)[0]

    return (m, step)


def mixup(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = torch.randint(0, 3, (batch,))

    def step():
        loss = 0.3
        p = torch.randperm(batch)
        o = m(loss * x + (1 - loss) * x[p])
        return loss * F.cross_entropy(o, y) + (1 - loss) * F.cross_entropy(o, y[p])

    return (m, step)


def mixup_per_sample(batch, steps, width):
    m = mlp(width, 8, 3)
    x = torch.randn(batch, width)
    y = F.one_hot(torch.randint(0, 3, (batch,)), 3).float()

    def step():
        loss = torch.rand(batch, 1)
        p = torch.randperm(batch)
        o = m(loss * x + (1 - loss) * x[p])
        t = loss * y + (1 - loss) * y[p]
        return -(t * o.log_softmax(1)).sum(1).mean()

    return (m, step)


def gan(batch, steps, width):
    g, d = (mlp(width, 8, steps), mlp(steps, 8, 1))
    og, od = (torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters()))
    real = torch.randn(batch, steps)

    def step():
        fake = g(torch.randn(batch, width))
        one, zero = (torch.ones(batch, 1), torch.zeros(batch, 1))
        od.zero_grad()
        (
            F.binary_cross_entropy_with_logits(d(real), one)
            + F.binary_cross_entropy_with_logits(d(fake.detach()), zero)
        ).backward()
        od.step()
        og.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), one).backward()
        og.step()

    return ((g, d), step)


def simsiam(batch, steps, width):
    e, p = (mlp(width, 8, 8), mlp(8, 4, 8))
    a, b = torch.randn(2, batch, width)

    def step():
        z1, z2 = (e(a), e(b))
        return (
            -(
                F.cosine_similarity(p(z1), z2.detach(), dim=-1).mean()
                + F.cosine_similarity(p(z2), z1.detach(), dim=-1).mean()
            )
            / 2
        )

    return ((e, p), step)


def dqn(batch, steps, width):
    q, tq = (mlp(width, 8, 3), mlp(width, 8, 3))
    s, s2 = torch.randn(2, batch, width)
    a = torch.randint(0, 3, (batch,))
    r = torch.randn(batch)
    d = torch.zeros(batch)
    w = torch.rand(batch)
    opt = torch.optim.Adam(q.parameters())

    def step():
        v = q(s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            y = r + 0.9 * tq(s2).max(1)[0] * (1 - d)
        loss = (w * F.smooth_l1_loss(v, y, reduction="none")).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()

    return (q, step)


def gae_rollout(batch, steps, width):
    m = nn.ModuleList([mlp(width, 8, 3), mlp(width, 8, 1)])
    obs = torch.randn(steps, batch, width)

    def step():
        acts, lps, vals, rews = (
            torch.zeros(steps, batch, dtype=torch.long),
            torch.zeros(steps, batch),
            torch.zeros(steps + 1, batch),
            torch.randn(steps, batch),
        )
        with torch.no_grad():
            for t in range(steps):
                d = torch.distributions.Categorical(logits=m[0](obs[t]))
                acts[t] = d.sample()
                lps[t] = d.log_prob(acts[t])
                vals[t] = m[1](obs[t]).flatten()
            adv = torch.zeros(steps, batch)
            last = torch.zeros(batch)
            for t in reversed(range(steps)):
                last = rews[t] + 0.99 * vals[t + 1] - vals[t] + 0.9 * last
                adv[t] = last
            ret = adv + vals[:-1]
        o, a, lp, ad, re = (
            obs.reshape(-1, width),
            acts.reshape(-1),
            lps.reshape(-1),
            adv.reshape(-1),
            ret.reshape(-1),
        )
        idx = torch.randperm(steps * batch)[: steps * batch // 2]
        d = torch.distributions.Categorical(logits=m[0](o[idx]))
        ratio = (d.log_prob(a[idx]) - lp[idx]).exp()
        return (
            -(ratio * ad[idx]).mean()
            + 0.5 * ((m[1](o[idx]).view(-1) - re[idx]) ** 2).mean()
        )

    return (m, step)


def quantile_regression(batch, steps, width):
    m = mlp(width, 8, steps)
    x = torch.randn(batch, width)
    y = torch.randn(batch)
    taus = torch.linspace(0.1, 0.9, steps)

    def step():
        e = y[:, None] - m(x)
        return torch.max(taus * e, (taus - 1) * e).mean()

    return (m, step)


def qr_dqn(batch, steps, width):
    m = mlp(width, 8, steps)
    x = torch.randn(batch, width)
    tgt = torch.randn(batch, steps)
    taus = (torch.arange(steps) + 0.5) / steps

    def step():
        th = m(x)
        u = tgt[:, None, :] - th[:, :, None]
        h = F.huber_loss(
            th[:, :, None].expand_as(u), tgt[:, None, :].expand_as(u), reduction="none"
        )
        return (
            ((taus[None, :, None] - (u.detach() < 0).float()).abs() * h).sum(1).mean()
        )

    return (m, step)


def ensemble_members(batch, steps, width):
    ms = nn.ModuleList((mlp(width, 8, 1) for _ in range(3)))
    x = torch.randn(batch, width)
    y = torch.randn(batch, 1)

    def step():
        p = torch.stack([m(x) for m in ms])
        return ((p - y) ** 2).mean() + p.std(0).mean()

    return (ms, step)


def prototypical(batch, steps, width):
    m = mlp(width, 8, 8)
    s = torch.randn(3, steps, width)
    q = torch.randn(3 * steps, width)
    y = torch.arange(3).repeat_interleave(steps)

    def step():
        p = m(s.reshape(-1, width)).view(3, steps, 8).mean(1)
        return F.cross_entropy(-torch.cdist(m(q), p) ** 2, y)

    return (m, step)
