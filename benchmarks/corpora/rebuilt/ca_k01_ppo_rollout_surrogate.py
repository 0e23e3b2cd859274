import math

import torch
import torch.nn as nn

SOURCE = 'own'
CATEGORY = 'silent'
DESCRIPTION = 'PPO on a vectorised environment: rollout buffer, GAE, functional policy with its parameters in dicts, clipped surrogate.'

STEPS, ENVS, OBS, ACT = 6, 4, 7, 3


def affine(p, name, x):
    return torch.einsum('ni,oi->no', x, p[name + '_w']) + p[name + '_b']


class Agent(nn.Module):
    def __init__(self, hidden=20):
        super().__init__()
        sizes = dict(body=(OBS, hidden), mean=(hidden, ACT), value=(hidden, 1))
        self.p = nn.ParameterDict()
        for name, (i, o) in sizes.items():
            self.p[name + '_w'] = nn.Parameter(torch.randn(o, i) / math.sqrt(i))
            self.p[name + '_b'] = nn.Parameter(torch.zeros(o))
        self.log_std = nn.Parameter(torch.zeros(ACT) - 0.5)

    def forward(self, obs):
        h = torch.tanh(affine(self.p, 'body', obs))
        return torch.distributions.Normal(affine(self.p, 'mean', h), self.log_std.exp()), affine(self.p, 'value', h)


class Rollout:
    def __init__(self):
        self.obs = torch.zeros(STEPS, ENVS, OBS)
        self.act = torch.zeros(STEPS, ENVS, ACT)
        self.logp = torch.zeros(STEPS, ENVS)
        self.rew = torch.zeros(STEPS, ENVS, 1)
        self.val = torch.zeros(STEPS + 1, ENVS, 1)

    @torch.no_grad()
    def collect(self, agent):
        obs = torch.randn(ENVS, OBS)
        for t in range(STEPS):
            dist, value = agent(obs)
            act = dist.sample()
            self.obs[t], self.act[t], self.val[t] = obs, act, value
            self.logp[t] = dist.log_prob(act).sum(-1)
            self.rew[t] = -act.pow(2).mean(-1, keepdim=True) + 0.1 * torch.randn(ENVS, 1)
            obs = torch.randn(ENVS, OBS)
        self.val[STEPS] = agent(obs)[1]

    def advantages(self, gamma=0.99, lam=0.95):
        out, run = torch.zeros_like(self.rew), 0.0
        for t in reversed(range(STEPS)):
            delta = self.rew[t] + gamma * self.val[t + 1] - self.val[t]
            run = delta + gamma * lam * run
            out[t] = run
        return out


def surrogate(logp, old, adv, clip=0.2):
    ratio = (logp - old).exp()
    return -torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv).mean()


def build():
    return Agent()


def step(model):
    roll = Rollout()
    roll.collect(model)
    adv = roll.advantages().flatten(0, 1)
    ret = adv + roll.val[:-1].flatten(0, 1)
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        dist, value = model(roll.obs.flatten(0, 1))
        logp = dist.log_prob(roll.act.flatten(0, 1)).sum(-1)
        policy = surrogate(logp, roll.logp.flatten(), adv)
        loss = policy + 0.5 * (value - ret).pow(2).mean() - 0.01 * dist.entropy().sum(-1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    return (loss).detach()


# (24,) ratios times (24, 1) advantages: every ratio meets every advantage
TRUTH = dict(raises=None, at='function:mul', culprits=['function:mul', 'function:flatten', 'function:sum', 'function:exp', 'function:div', 'function:sub', 'function:clamp'],
             dim=1, got=1, wanted=None, hint_any=['squeeze', 'broadcast', '(24, 24)', 'keepdim', 'unsqueeze'])
MENDED = [('policy = surrogate(logp, roll.logp.flatten(), adv)', 'policy = surrogate(logp, roll.logp.flatten(), adv.squeeze(-1))')]
