import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

SOURCE = 'https://datascience.stackexchange.com/questions/57114/understanding-reinforce-loss (the program is reinforce.py of pytorch/examples)'
CATEGORY = 'correct'
DESCRIPTION = 'REINFORCE: the asker doubts the minus in -log_prob * reward; it turns the ascent into a descent. Returns are normalised over the episode, each state is a batch of one, dropout acts while the policy plays.'


class PoleEnv:
    """A pole on a cart, as in gym's CartPole."""

    def reset(self):
        self.state = torch.rand(4) * 0.1 - 0.05
        self.t = 0
        return self.state

    def step(self, action):
        x, x_dot, theta, theta_dot = self.state.tolist()
        force = 10.0 if action == 1 else -10.0
        temp = (force + 0.05 * theta_dot ** 2 * math.sin(theta)) / 1.1
        thetaacc = (9.8 * math.sin(theta) - math.cos(theta) * temp) / (0.5 * (4 / 3 - 0.1 * math.cos(theta) ** 2 / 1.1))
        xacc = temp - 0.05 * thetaacc * math.cos(theta) / 1.1
        self.state = torch.tensor([x + 0.02 * x_dot, x_dot + 0.02 * xacc, theta + 0.02 * theta_dot, theta_dot + 0.02 * thetaacc])
        self.t += 1
        done = abs(self.state[2].item()) > 0.2 or self.t >= 40
        return self.state, 1.0, done


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 32)
        self.dropout = nn.Dropout(p=0.6)
        self.affine2 = nn.Linear(32, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = self.affine1(x)
        x = self.dropout(x)
        x = F.relu(x)
        action_scores = self.affine2(x)
        return F.softmax(action_scores, dim=1)


def select_action(policy, state):
    state = state.float().unsqueeze(0)
    probs = policy(state)
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode(policy, optimizer, gamma=0.99, eps=1e-8):
    R, policy_loss, returns = 0, [], []
    for r in policy.rewards[::-1]:
        R = r + gamma * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    for log_prob, R in zip(policy.saved_log_probs, returns):
        policy_loss.append(-log_prob * R)
    optimizer.zero_grad()
    policy_loss = torch.cat(policy_loss).sum()
    policy_loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]
    return policy_loss.detach()


def build():
    return Policy()


def step(policy):
    env = PoleEnv()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for i_episode in range(3):
        state, done = env.reset(), False
        while not done:
            action = select_action(policy, state)
            state, reward, done = env.step(action)
            policy.rewards.append(reward)
        loss = finish_episode(policy, optimizer)
    return loss


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
