"""REINFORCE as the official example has it: one sample a forward, and one step of the
optimizer an episode. The environment is gymnasium's CartPole, written out."""

import math
import sys
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

episodes = int(sys.argv[1])


class CartPole:
    """Ends after 200 steps at the latest."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def reset(self):
        self.state, self.steps = self.random.uniform(-0.05, 0.05, 4), 0
        return np.array(self.state, dtype=np.float32)

    def step(self, action):
        x, x_dot, theta, theta_dot = self.state
        cos, sin = math.cos(theta), math.sin(theta)
        push = (10.0 if action == 1 else -10.0) + 0.05 * theta_dot**2 * sin
        push /= 1.1
        inertia = 0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1)
        theta_acc = (9.8 * sin - cos * push) / inertia
        x_acc = push - 0.05 * theta_acc * cos / 1.1
        moved = (x_dot, x_acc, theta_dot, theta_acc)
        self.state = self.state + 0.02 * np.array(moved)
        self.steps += 1
        x, _, theta, _ = self.state
        done = abs(x) > 2.4 or abs(theta) > 0.2095 or self.steps >= 200
        return np.array(self.state, dtype=np.float32), 1.0, bool(done)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.dropout = nn.Dropout(p=0.6)
        self.affine2 = nn.Linear(128, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = self.affine1(x)
        x = self.dropout(x)
        x = F.relu(x)
        action_scores = self.affine2(x)
        return F.softmax(action_scores, dim=1)


torch.manual_seed(543)
torch.set_num_threads(1)
env = CartPole(543)
policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
eps = np.finfo(np.float32).eps.item()


def select_action(state):
    state = torch.from_numpy(state).float().unsqueeze(0)
    probs = policy(state)
    m = Categorical(probs)
    action = m.sample()
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode():
    R = 0
    policy_loss = []
    returns = deque()
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.appendleft(R)
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


running_reward = 10.0
for episode in range(1, episodes + 1):
    state, ep_reward = env.reset(), 0.0
    for _ in range(200):
        state, reward, done = env.step(select_action(state))
        policy.rewards.append(reward)
        ep_reward += reward
        if done:
            break
    running_reward = 0.05 * ep_reward + 0.95 * running_reward
    finish_episode()
    if episode % 100 == 0:
        print(f"episode {episode}: average {running_reward:.2f}")
