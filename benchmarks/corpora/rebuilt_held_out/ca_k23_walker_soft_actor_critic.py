import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal

SOURCE = 'https://github.com/sunwuzhou03/reinforcement-learning-lab/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'SAC for a walker with four joints: squashed Gaussian policy, two critics with slow copies, one update of all.'


class PolicyNet(nn.Module):
    def __init__(self, state=24, hidden=32, action=4, bound=1.0):
        super().__init__()
        self.fc1 = nn.Linear(state, hidden)
        self.fc_mu, self.fc_std = nn.Linear(hidden, action), nn.Linear(hidden, action)
        self.bound = bound

    def forward(self, x):
        x = F.relu(self.fc1(x))
        dist = Normal(self.fc_mu(x), F.softplus(self.fc_std(x)) + 1e-4)
        normal_sample = dist.rsample()
        log_prob = dist.log_prob(normal_sample)
        action = torch.tanh(normal_sample)
        log_prob = log_prob - torch.log(1 - action.pow(2) + 1e-7)
        return action * self.bound, log_prob


class QValueNet(nn.Module):
    def __init__(self, state=24, hidden=32, action=4):
        super().__init__()
        self.fc1, self.fc_out = nn.Linear(state + action, hidden), nn.Linear(hidden, 1)

    def forward(self, s, a):
        return self.fc_out(F.relu(self.fc1(torch.cat([s, a], dim=1))))


class SAC(nn.Module):
    def __init__(self, gamma=0.98):
        super().__init__()
        self.actor, self.critic_1, self.critic_2 = PolicyNet(), QValueNet(), QValueNet()
        self.target_critic_1 = copy.deepcopy(self.critic_1).requires_grad_(False)
        self.target_critic_2 = copy.deepcopy(self.critic_2).requires_grad_(False)
        self.log_alpha, self.gamma = torch.tensor(-2.0), gamma

    def calc_target(self, rewards, next_states, dones):
        next_actions, log_prob = self.actor(next_states)
        entropy = -log_prob
        q = torch.min(self.target_critic_1(next_states, next_actions), self.target_critic_2(next_states, next_actions))
        next_value = q + self.log_alpha.exp() * entropy
        return rewards + self.gamma * next_value * (1 - dones)

    def actor_loss(self, states):
        new_actions, log_prob = self.actor(states)
        q = torch.min(self.critic_1(states, new_actions), self.critic_2(states, new_actions))
        return (self.log_alpha.exp() * log_prob - q).mean()


def transitions(n=64):
    return torch.randn(n, 24), torch.rand(n, 4) * 2 - 1, torch.randn(n, 1), torch.randn(n, 24), (torch.rand(n, 1) < 0.1).float()


def build():
    return SAC()


def step(model):
    states, actions, rewards, next_states, dones = transitions()
    critics = list(model.critic_1.parameters()) + list(model.critic_2.parameters())
    opt, actor_opt = torch.optim.Adam(critics, lr=1e-3), torch.optim.Adam(model.actor.parameters(), lr=1e-4)
    td_target = model.calc_target(rewards, next_states, dones).detach()
    loss = F.mse_loss(model.critic_1(states, actions), td_target) + F.mse_loss(model.critic_2(states, actions), td_target)
    opt.zero_grad()
    loss.backward()
    opt.step()
    actor_loss = model.actor_loss(states)
    actor_opt.zero_grad()
    actor_loss.backward()
    actor_opt.step()
    with torch.no_grad():
        for live, slow in ((model.critic_1, model.target_critic_1), (model.critic_2, model.target_critic_2)):
            for p, q in zip(live.parameters(), slow.parameters()):
                q.lerp_(p, 0.005)
    return (loss).detach()


# log_prob is not summed over the four joints: the target is (64, 4), the critics give (64, 1)
TRUTH = dict(raises=None, at='function:add', culprits=['function:add', 'function:log_prob', 'actor', 'target', 'function:mul', 'function:sub', 'function:neg', 'function:detach'], dim=1, got=4, wanted=1,
             hint_any=['sum', 'broadcast', 'log_prob', '(64, 4)', 'keepdim'])
MENDED = [('        return action * self.bound, log_prob', '        return action * self.bound, log_prob.sum(1, keepdim=True)')]
