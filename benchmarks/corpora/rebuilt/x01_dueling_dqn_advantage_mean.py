import copy
import random
from collections import deque

import torch
import torch.nn as nn

SOURCE = 'https://github.com/datawhalechina/easy-rl/issues/140'
CATEGORY = 'silent'
DESCRIPTION = 'Dueling DQN: advantage.mean() is taken over the batch and the actions together, so that the Q values of one state depend on the others in the batch.'


class DuelingNet(nn.Module):
    def __init__(self, n_states, n_actions, hidden_dim=32):
        super().__init__()
        self.hidden_layer = nn.Sequential(nn.Linear(n_states, hidden_dim), nn.ReLU())
        self.advantage_layer = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, n_actions))
        self.value_layer = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1))

    def forward(self, state):
        x = self.hidden_layer(state)
        advantage = self.advantage_layer(x)
        value = self.value_layer(x)
        return value + advantage - advantage.mean()


class ReplayBuffer:
    def __init__(self, capacity):
        self.buffer = deque(maxlen=capacity)

    def push(self, *transition):
        self.buffer.append(transition)

    def sample(self, batch_size, rng):
        return zip(*rng.sample(list(self.buffer), batch_size))


class DuelingDQN(nn.Module):
    def __init__(self, n_states=4, n_actions=6, gamma=0.95):
        super().__init__()
        self.gamma = gamma
        self.policy_net = DuelingNet(n_states, n_actions)
        self.target_net = copy.deepcopy(self.policy_net)

    def loss(self, states, actions, rewards, next_states, dones):
        q_values = self.policy_net(states).gather(dim=1, index=actions)
        next_q_values = self.target_net(next_states).max(1)[0].detach()
        expected_q_values = rewards + self.gamma * next_q_values * (1 - dones)
        return nn.MSELoss()(q_values, expected_q_values.unsqueeze(1))


def play(memory, steps=40):
    state = 2 * torch.randn(4)
    for t in range(steps):
        next_state = state + torch.randn(4)
        memory.push(state, random.Random(t).randrange(6), float(next_state.sum() > 0), next_state, float(t % 13 == 12))
        state = next_state


def build():
    return DuelingDQN()


def step(model):
    memory = ReplayBuffer(100)
    play(memory)
    states, actions, rewards, next_states, dones = memory.sample(6, random.Random(0))
    return model.loss(
        torch.stack(states), torch.tensor(actions).unsqueeze(1), torch.tensor(rewards),
        torch.stack(next_states), torch.tensor(dones))


# real fix: advantage.mean(dim=1, keepdim=True)
TRUTH = dict(raises=None, at='function:mean', culprits=['function:mean'], dim=None, got=None, wanted=None,
             hint_any=['dim=1', 'keepdim', 'whole batch', 'over the batch', 'per sample', 'every dimension', 'all dimensions'])
MENDED = [('value + advantage - advantage.mean()', 'value + advantage - advantage.mean(dim=1, keepdim=True)')]
