import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, OBS, ACTIONS, HIDDEN = 10, 6, 3, 16


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(OBS, HIDDEN), nn.Tanh())
        self.actor = nn.Linear(HIDDEN, ACTIONS)
        self.critic = nn.Linear(HIDDEN, 1)
        self.log_std = nn.Parameter(torch.zeros(ACTIONS))

    def forward(self, obs):
        h = self.shared(obs)
        dist = torch.distributions.Normal(self.actor(h), self.log_std.exp())
        return dist, self.critic(h).squeeze(-1)


def build():
    return ActorCritic()


def step(model):
    obs, actions = torch.randn(BATCH, OBS), torch.randn(BATCH, ACTIONS)
    old_log_prob, returns = torch.randn(BATCH), torch.randn(BATCH)
    dist, values = model(obs)
    log_prob = dist.log_prob(actions).sum(dim=-1)
    ratio = (log_prob - old_log_prob).exp()
    advantages = returns - values.detach()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped = torch.clamp(ratio, 0.8, 1.2) * advantages
    policy_loss = -torch.min(ratio * advantages, clipped).mean()
    value_loss = F.mse_loss(values, returns)
    return policy_loss + 0.5 * value_loss - 0.01 * dist.entropy().sum(dim=-1).mean()


EQUAL = dict(BATCH=8, OBS=8, ACTIONS=8, HIDDEN=8)
