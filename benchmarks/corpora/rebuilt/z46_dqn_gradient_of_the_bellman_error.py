import random
from collections import deque

import torch
import torch.nn as nn

SOURCE = 'https://github.com/dxyang/DQN_pytorch/issues/7'
CATEGORY = 'layer'
DESCRIPTION = 'A DQN hands the clipped Bellman error to backward() as a column, while the chosen Q values have been squeezed to a vector.'


class DQN(nn.Module):
    def __init__(self, in_channels, num_actions):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 8, stride=4)
        self.conv2 = nn.Conv2d(16, 32, 4, stride=2)
        self.fc1 = nn.Linear(32 * 3 * 3, 64)
        self.value = nn.Linear(64, 1)
        self.advantage = nn.Linear(64, num_actions)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = torch.relu(self.fc1(x.view(x.size(0), -1)))
        adv = self.advantage(x)
        return self.value(x) + adv - adv.mean(1, keepdim=True)


class ReplayBuffer:
    def __init__(self, size):
        self.memory = deque(maxlen=size)

    def store(self, *transition):
        self.memory.append(transition)

    def sample(self, n):
        obs, act, rew, nxt, done = zip(*random.sample(self.memory, n))
        return torch.stack(obs), torch.tensor(act), torch.tensor(rew), torch.stack(nxt), torch.tensor(done, dtype=torch.float)


class Agent(nn.Module):
    def __init__(self, frame_history_len=4, num_actions=6, gamma=0.99, double_dqn=True):
        super().__init__()
        self.num_actions, self.gamma, self.double_dqn = num_actions, gamma, double_dqn
        self.Q = DQN(frame_history_len, num_actions)
        self.Q_target = DQN(frame_history_len, num_actions)
        self.Q_target.load_state_dict(self.Q.state_dict())

    def bellman_error(self, q_s_a, rew_t, obs_tp1, done_mask):
        if self.double_dqn:
            _, a_prime = self.Q(obs_tp1).detach().max(1)
            q_prime = self.Q_target(obs_tp1).detach().gather(1, a_prime.unsqueeze(1))
            q_prime = q_prime.squeeze()
        else:
            q_prime, _ = self.Q_target(obs_tp1).detach().max(1)
        return rew_t + self.gamma * (1 - done_mask) * q_prime - q_s_a

    def learn(self, replay, batch_size, lr=2.5e-4):
        obs_t, act_t, rew_t, obs_tp1, done_mask = replay.sample(batch_size)
        q_s_a = self.Q(obs_t).gather(1, act_t.unsqueeze(1))
        q_s_a = q_s_a.squeeze()
        error = self.bellman_error(q_s_a, rew_t, obs_tp1, done_mask)
        # clip the error and flip
        clipped_error = -1.0 * error.clamp(-1, 1)
        self.Q.zero_grad()
        q_s_a.backward(clipped_error.data.unsqueeze(1))
        with torch.no_grad():
            for p in self.Q.parameters():
                p.sub_(lr * p.grad)
        return error.detach().pow(2).mean()


def build():
    return Agent()


def step(model):
    replay = ReplayBuffer(100)
    for _ in range(40):
        replay.store(torch.rand(4, 36, 36), random.randrange(6), random.choice([-1.0, 0.0, 1.0]), torch.rand(4, 36, 36), random.random() < 0.1)
    return model.learn(replay, batch_size=32)


# real fix: q_s_a.backward(clipped_error.data)
TRUTH = dict(raises='RuntimeError', at='function:backward', culprits=['function:unsqueeze'], dim=None, got=None, wanted=None,
             hint_any=['unsqueeze', '(32,)', '[32]', 'grad'])
MENDED = [('q_s_a.backward(clipped_error.data.unsqueeze(1))', 'q_s_a.backward(clipped_error.data)')]
