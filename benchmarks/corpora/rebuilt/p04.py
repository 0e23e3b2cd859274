import random
from collections import deque

import torch
import torch.nn as nn

SOURCE = 'https://github.com/philtabor/Youtube-Code-Repository/issues/4'
CATEGORY = 'layer'
DESCRIPTION = 'DQN: actions are stored one-hot as uint8, their indices come from a product with the uint8 action space, and a uint8 index is read as a mask.'


class DeepQNetwork(nn.Module):
    def __init__(self, input_dims, fc1_dims, fc2_dims, n_actions):
        super().__init__()
        self.fc1 = nn.Linear(input_dims, fc1_dims)
        self.fc2 = nn.Linear(fc1_dims, fc2_dims)
        self.norm = nn.LayerNorm(fc2_dims)
        self.fc3 = nn.Linear(fc2_dims, n_actions)

    def forward(self, observation):
        x = torch.relu(self.fc1(observation))
        x = self.norm(torch.relu(self.fc2(x)))
        return self.fc3(x)


class Memory:
    def __init__(self, size, n_actions):
        self.store, self.n_actions = deque(maxlen=size), n_actions

    def add(self, state, action, reward, state_, done):
        actions = torch.zeros(self.n_actions, dtype=torch.uint8)
        actions[action] = 1
        self.store.append((state, actions, reward, state_, 1 - int(done)))

    def sample(self, n):
        s, a, r, s_, d = zip(*random.sample(list(self.store), n))
        return torch.stack(s), torch.stack(a), torch.tensor(r), torch.stack(s_), torch.tensor(d).float()


class Agent(nn.Module):
    def __init__(self, gamma=0.99, n_actions=4, input_dims=8, batch_size=64):
        super().__init__()
        self.gamma, self.batch_size = gamma, batch_size
        self.action_space = torch.arange(n_actions, dtype=torch.uint8)
        self.memory = Memory(500, n_actions)
        self.Q_eval = DeepQNetwork(input_dims, 32, 32, n_actions)
        self.loss = nn.MSELoss()

    def store_transition(self, *transition):
        self.memory.add(*transition)

    def learn(self):
        state, action, reward, new_state, terminal = self.memory.sample(self.batch_size)
        action_indices = (action * self.action_space).sum(dim=1, dtype=torch.uint8)
        q_eval = self.Q_eval(state)
        q_target = q_eval.detach().clone()
        q_next = self.Q_eval(new_state).detach()
        batch_index = torch.arange(self.batch_size)
        q_target[batch_index, action_indices] = reward + self.gamma * torch.max(q_next, dim=1)[0] * terminal
        return self.loss(q_eval, q_target)


def build():
    return Agent()


def step(model):
    random.seed(0)
    observation = torch.randn(8)
    for _ in range(100):
        new = torch.randn(8)
        model.store_transition(observation, random.randrange(4), random.random(), new, random.random() < 0.1)
        observation = new
    return model.learn()


# real fix: integer indices, e.g. action.argmax(dim=1) (np.argmax works, as the reporter found)
# offending tensor: action_indices, uint8 (64,), taken as a mask over the 4 actions
TRUTH = dict(raises='IndexError', at='function:setitem', culprits=['function:sum', 'function:setitem'], dim=None, got=64, wanted=None,
             hint_any=['uint8', 'mask', 'long', 'index', 'bool', 'dtype'])
MENDED = [('(action * self.action_space).sum(dim=1, dtype=torch.uint8)', 'action.argmax(dim=1)')]
