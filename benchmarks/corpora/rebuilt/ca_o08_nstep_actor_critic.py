import torch
import torch.nn as nn
from torch.distributions import Categorical

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'A2C with n-step returns on vectorised environments; eight steps, eight environments, eight observations.'

T, E, O = 8, 8, 8


class Agent(nn.Module):
    def __init__(self, hidden=32, actions=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(O, hidden), nn.Tanh())
        self.pi, self.v = nn.Linear(hidden, actions), nn.Linear(hidden, 1)

    def forward(self, obs):
        h = self.body(obs)
        return Categorical(logits=self.pi(h)), self.v(h).squeeze(-1)


class Env:
    def __init__(self):
        self.state = torch.randn(E, O)

    def step(self, act):
        self.state = 0.9 * self.state + 0.1 * torch.randn(E, O)
        reward = -self.state.abs().mean(1) + 0.1 * (act == 1).float()
        return self.state, reward, (torch.rand(E) < 0.1).float()


def returns(rewards, dones, last, gamma=0.97):
    out, run = torch.zeros(T, E), last
    for t in reversed(range(T)):
        run = rewards[t] + gamma * (1 - dones[t]) * run
        out[t] = run
    return out


def unroll(agent, env):
    keep, obs = [], env.state
    for _ in range(T):
        dist, value = agent(obs)
        act = dist.sample()
        logp, ent = dist.log_prob(act), dist.entropy()
        obs, reward, done = env.step(act)
        keep.append((logp, ent, value, reward, done))
    with torch.no_grad():
        last = agent(obs)[1]
    return [torch.stack(k) for k in zip(*keep)], last


def build():
    return Agent()


def step(model):
    opt = torch.optim.RMSprop(model.parameters(), lr=7e-4)
    (logp, ent, value, reward, done), last = unroll(model, Env())
    ret = returns(reward, done, last)
    adv = (ret - value).detach()
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    loss = -(adv * logp).mean() + 0.5 * (ret - value).pow(2).mean() - 0.01 * ent.mean()
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
