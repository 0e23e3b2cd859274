import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Toni-SM/skrl/issues/101'
CATEGORY = 'layer'
DESCRIPTION = ('Recurrent PPO on a single environment: 32 rollout steps in four mini-batches give 8 states each, the policy cuts them '
               'into sequences of 32.')

cfg = dict(rollouts=32, learning_epochs=1, mini_batches=4, discount_factor=0.99, lambda_=0.95, ratio_clip=0.2, value_loss_scale=0.5)


class RandomMemory:
    def __init__(self, memory_size, num_envs):
        self.memory_size, self.num_envs, self.tensors = memory_size, num_envs, {}

    def create_tensor(self, name, size):
        self.tensors[name] = torch.zeros(self.memory_size, self.num_envs, size)

    def set(self, i, **values):
        for name, value in values.items():
            self.tensors[name][i] = value

    def sample_all(self, names, mini_batches, sequence_length):
        indexes = torch.arange(self.memory_size * self.num_envs)
        for part in indexes.tensor_split(mini_batches):
            yield [self.tensors[name].transpose(0, 1).reshape(len(indexes), -1)[part] for name in names]


class LSTMModel(nn.Module):
    def __init__(self, num_observations, num_outputs, hidden_size=32, num_layers=1, sequence_length=32):
        super().__init__()
        self.sequence_length, self.hidden_size, self.num_layers = sequence_length, hidden_size, num_layers
        self.lstm = nn.LSTM(num_observations, hidden_size, num_layers, batch_first=True)
        self.net = nn.Sequential(nn.Linear(hidden_size, 32), nn.ReLU(), nn.Linear(32, num_outputs))

    def compute(self, states, rnn=None):
        if self.training:
            rnn_input = states.view(-1, self.sequence_length, states.shape[-1])
            rnn_output, rnn = self.lstm(rnn_input)
        else:
            rnn_output, rnn = self.lstm(states.view(-1, 1, states.shape[-1]), rnn)
        return self.net(torch.flatten(rnn_output, start_dim=0, end_dim=1)), rnn


class PPO(nn.Module):
    def __init__(self, num_observations=23, num_actions=2):
        super().__init__()
        self.policy = LSTMModel(num_observations, num_actions)
        self.value = LSTMModel(num_observations, 1)
        self.log_std = nn.Parameter(torch.zeros(num_actions))

    def log_prob(self, mean, actions):
        z = (actions - mean) / self.log_std.exp()
        return (-0.5 * z ** 2 - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1, keepdim=True)


def rollout(model, memory):
    model.eval()
    state, rnn = torch.randn(1, 23), None
    with torch.no_grad():
        for i in range(cfg['rollouts']):
            mean, rnn = model.policy.compute(state, rnn)
            action = mean + torch.randn_like(mean)
            memory.set(i, states=state, actions=action, log_prob=model.log_prob(mean, action), returns=torch.randn(1, 1),
                       advantages=torch.randn(1, 1))
            state = torch.randn(1, 23)
    model.train()


def build():
    return PPO()


def step(model):
    names = dict(states=23, actions=2, log_prob=1, returns=1, advantages=1)
    memory = RandomMemory(cfg['rollouts'], num_envs=1)
    for name, size in names.items():
        memory.create_tensor(name, size)
    rollout(model, memory)
    loss = 0
    for states, actions, old_log_prob, returns, advantages in memory.sample_all(names, cfg['mini_batches'], model.policy.sequence_length):
        mean, _ = model.policy.compute(states)
        ratio = (model.log_prob(mean, actions) - old_log_prob).exp()
        clipped = ratio.clamp(1 - cfg['ratio_clip'], 1 + cfg['ratio_clip'])
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        values, _ = model.value.compute(states)
        loss = loss + policy_loss + cfg['value_loss_scale'] * F.mse_loss(values, returns)
    return loss / cfg['mini_batches']


# 8 * 23 numbers cannot be cut into sequences of 32; a mini-batch has to hold whole sequences
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'function:tensor_split', 'input'], dim=0, got=8,
             wanted=32, hint_any=['32', 'sequence', 'mini', 'multiple', 'divis'])
MENDED = [('mini_batches=4', 'mini_batches=1')]
