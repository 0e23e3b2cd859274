import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AndersonJo/dqn-pytorch/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'DQN: masked rewards (30,1) plus next values (30,) make a (30,30) table, which is then written into 30 places of a column.'

Transition = namedtuple('Transition', ('state', 'action', 'reward', 'next_state'))
BATCH_SIZE, GAMMA, ACTION_REPEAT, N_ACTION = 32, 0.99, 4, 6


class ReplayMemory:
    def __init__(self, capacity=1000):
        self.memory = deque(maxlen=capacity)

    def put(self, state, action, reward, next_state):
        state = torch.FloatTensor(state)
        reward = torch.FloatTensor([reward])
        if next_state is not None:
            next_state = torch.FloatTensor(next_state)
        self.memory.append(Transition(state=state, action=action, reward=reward, next_state=next_state))

    def sample(self, batch_size):
        return random.sample(list(self.memory), batch_size)


class DQN(nn.Module):
    def __init__(self, n_action):
        super().__init__()
        self.n_action = n_action
        self.conv1 = nn.Conv2d(ACTION_REPEAT, 8, kernel_size=5, stride=2)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, kernel_size=3, stride=2)
        self.bn2 = nn.BatchNorm2d(16)
        self.affine1 = nn.Linear(16 * 7 * 7, 64)
        self.affine2 = nn.Linear(64, n_action)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        h = F.relu(self.affine1(h.view(h.size(0), -1)))
        return self.affine2(h)


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.dqn = DQN(N_ACTION)
        self.target = DQN(N_ACTION)
        self.target.load_state_dict(self.dqn.state_dict())
        self.replay = ReplayMemory()

    def optimize(self, gamma):
        transitions = self.replay.sample(BATCH_SIZE)
        batch = Transition(*zip(*transitions))
        non_final_mask = torch.tensor([s is not None for s in batch.next_state])
        final_mask = ~non_final_mask

        state_batch = torch.stack(batch.state)
        action_batch = torch.cat(batch.action)
        reward_batch = torch.stack(batch.reward)
        non_final_next_state_batch = torch.stack([s for s in batch.next_state if s is not None])

        q_pred = self.dqn(state_batch)
        q_values = q_pred.gather(1, action_batch)

        target_values = torch.zeros(BATCH_SIZE, 1)
        with torch.no_grad():
            target_pred = self.target(non_final_next_state_batch)
        target_values[non_final_mask] = reward_batch[non_final_mask] + target_pred.max(1)[0] * gamma
        target_values[final_mask] = reward_batch[final_mask].detach()

        loss = F.smooth_l1_loss(q_values, target_values)
        return loss, reward_batch.mean(), q_values.mean()


def build():
    return Agent()


def step(model):
    random.seed(0)
    for i in range(BATCH_SIZE):
        state = torch.rand(ACTION_REPEAT, 36, 36).tolist()
        nxt = None if i in (7, 19) else torch.rand(ACTION_REPEAT, 36, 36).tolist()
        model.replay.put(state, torch.randint(0, N_ACTION, (1, 1)), float(i % 3 - 1), nxt)
    loss, reward, q_mean = model.optimize(GAMMA)
    return loss


# real fix: target_pred.max(1, keepdim=True)[0] (or view(-1, 1)), so that column is added to column
# offending tensor: target_pred.max(1)[0] (30,) beside reward_batch[non_final_mask] (30, 1)
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['function:max', 'function:add', 'function:mul', ''], dim=1, got=30, wanted=1,
             hint_any=['keepdim', 'unsqueeze', 'broadcast', 'view(-1, 1)', '(30, 30)', '30×30', 'max'])
MENDED = [('target_pred.max(1)[0] * gamma', 'target_pred.max(1, keepdim=True)[0] * gamma')]
