import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ikostrikov/pytorch-a2c-ppo-acktr-gail/issues/97'
CATEGORY = 'silent'
DESCRIPTION = 'Recurrent PPO: rollouts are joined one after another with cat(dim=0), (N * T), but the GRU views the rows as (T, N): steps of one rollout run as different agents.'


class RolloutStorage(object):
    def __init__(self, num_steps, num_processes, obs_shape, state_size):
        self.observations = torch.randn(num_steps, num_processes, obs_shape)
        self.states = torch.zeros(num_steps, num_processes, state_size)
        self.actions = torch.randint(0, 3, (num_steps, num_processes, 1))
        self.returns = torch.randn(num_steps, num_processes, 1)
        self.masks = (torch.rand(num_steps, num_processes, 1) > 0.2).float()
        self.old_log_probs = torch.full((num_steps, num_processes, 1), -1.1)

    def recurrent_generator(self, advantages, num_mini_batch):
        num_processes = self.actions.size(1)
        per_batch = num_processes // num_mini_batch
        perm = torch.randperm(num_processes)
        for start in range(0, num_processes, per_batch):
            columns = [[] for _ in range(6)]
            states = []
            for offset in range(per_batch):
                ind = perm[start + offset]
                fields = (self.observations, self.actions, self.returns, self.masks, self.old_log_probs, advantages)
                for column, field in zip(columns, fields):
                    column.append(field[:, ind])
                states.append(self.states[0:1, ind])
            obs, actions, returns, masks, old, adv = [torch.cat(c, dim=0) for c in columns]
            yield obs, torch.cat(states, 0), actions, returns, masks, old, adv


class MLPBase(nn.Module):
    def __init__(self, num_inputs, hidden=16):
        super().__init__()
        self.hidden = hidden
        self.body = nn.Sequential(nn.Linear(num_inputs, hidden), nn.Tanh())
        self.gru = nn.GRUCell(hidden, hidden)
        self.critic = nn.Linear(hidden, 1)

    def forward(self, inputs, states, masks):
        x = self.body(inputs)
        if inputs.size(0) == states.size(0):
            x = states = self.gru(x, states * masks)
        else:
            x = x.view(-1, states.size(0), x.size(1))
            masks = masks.view(-1, states.size(0), 1)
            outputs = []
            for i in range(x.size(0)):
                hx = states = self.gru(x[i], states * masks[i])
                outputs.append(hx)
            x = torch.cat(outputs, 0)
        return self.critic(x), x, states


class Policy(nn.Module):
    def __init__(self, num_inputs=6, num_actions=3):
        super().__init__()
        self.base = MLPBase(num_inputs)
        self.dist = nn.Linear(self.base.hidden, num_actions)

    def evaluate_actions(self, inputs, states, masks, action):
        value, features, states = self.base(inputs, states, masks)
        log_probs = F.log_softmax(self.dist(features), dim=1)
        entropy = -(log_probs * log_probs.exp()).sum(-1).mean()
        return value, log_probs.gather(1, action), entropy, states


def build():
    return Policy()


def step(model):
    rollouts = RolloutStorage(num_steps=4, num_processes=8, obs_shape=6, state_size=16)
    advantages = (rollouts.returns - rollouts.returns.mean()) / (rollouts.returns.std() + 1e-5)
    obs, states, actions, returns, masks, old, adv = next(rollouts.recurrent_generator(advantages, 2))
    values, log_probs, entropy, _ = model.evaluate_actions(obs, states, masks, actions)
    ratio = torch.exp(log_probs - old)
    surr = torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv)
    return -surr.mean() + 0.5 * F.mse_loss(values, returns) - 0.01 * entropy


# real fix: stack the rollouts along dim 1 and flatten (T, N) before the policy sees them; T is 4, as many as the agents in a mini batch
TRUTH = dict(raises=None, at='function:view', culprits=['function:cat', 'function:view'], dim=0, got=None, wanted=None,
             hint_any=['stack', 'transpose', 'permute', 'order', 'mix'])
MENDED = [('[torch.cat(c, dim=0) for c in columns]', '[torch.stack(c, dim=1).flatten(0, 1) for c in columns]')]
