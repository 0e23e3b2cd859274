import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/ikostrikov/pytorch-a2c-ppo-acktr-gail'
CATEGORY = 'correct'
DESCRIPTION = 'Advantage actor-critic with 8 steps, 8 environments and 8 observed numbers: rollout without gradient, returns of both axes, the advantage is detached for the actor only.'

STEPS, ENVS, OBS = 8, 8, 8


class Policy(nn.Module):
    def __init__(self, actions=3):
        super().__init__()
        self.base = nn.Sequential(nn.Linear(OBS, 32), nn.Tanh())
        self.critic_linear = nn.Linear(32, 1)
        self.dist = nn.Linear(32, actions)

    def forward(self, obs):
        h = self.base(obs)
        return torch.distributions.Categorical(logits=self.dist(h)), self.critic_linear(h)


def compute_returns(rewards, masks, next_value, gamma=0.99):
    returns = torch.zeros(STEPS + 1, ENVS, 1)
    returns[-1] = next_value
    for t in reversed(range(STEPS)):
        returns[t] = returns[t + 1] * gamma * masks[t] + rewards[t]
    return returns[:-1]


def build():
    return Policy()


def step(model):
    optimizer = torch.optim.RMSprop(model.parameters(), lr=7e-4)
    obs = torch.randn(STEPS + 1, ENVS, OBS)
    with torch.no_grad():
        actions = torch.stack([model(obs[t])[0].sample() for t in range(STEPS)]).unsqueeze(-1)
        next_value = model(obs[-1])[1]
    rewards, masks = torch.randn(STEPS, ENVS, 1), (torch.rand(STEPS, ENVS, 1) > 0.1).float()
    returns = compute_returns(rewards, masks, next_value)
    dist, values = model(obs[:-1].view(-1, OBS))
    values = values.view(STEPS, ENVS, 1)
    log_probs = dist.log_prob(actions.view(-1)).view(STEPS, ENVS, 1)
    advantages = returns - values
    value_loss = advantages.pow(2).mean()
    action_loss = -(advantages.detach() * log_probs).mean()
    loss = value_loss * 0.5 + action_loss - 0.01 * dist.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
