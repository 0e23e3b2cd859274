import copy

import torch
import torch.nn as nn

SOURCE = 'https://github.com/BY571/QR-DQN/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'QR-DQN: the TD errors are (batch, predicted, target) quantiles; the vector of quantile fractions (N,) broadcasts along the last axis, the targets, and not along the predictions.'

N, GAMMA, N_STEP, TAU = 8, 0.99, 1, 1e-2


class DuelingQRNet(nn.Module):
    def __init__(self, state_size, action_size, layer_size=32, n_quantiles=N):
        super().__init__()
        self.action_size, self.n = action_size, n_quantiles
        self.head = nn.Sequential(nn.Linear(state_size, layer_size), nn.ReLU(), nn.Linear(layer_size, layer_size), nn.ReLU())
        self.advantage = nn.Linear(layer_size, action_size * n_quantiles)
        self.value = nn.Linear(layer_size, n_quantiles)

    def forward(self, x):
        x = self.head(x)
        value = self.value(x).view(-1, self.n, 1)
        advantage = self.advantage(x).view(-1, self.n, self.action_size)
        return value + advantage - advantage.mean(dim=2, keepdim=True)


class Agent(nn.Module):
    def __init__(self, state_size=4, action_size=3):
        super().__init__()
        self.qnetwork_local = DuelingQRNet(state_size, action_size)
        self.qnetwork_target = copy.deepcopy(self.qnetwork_local).requires_grad_(False)
        self.register_buffer('quantile_tau', torch.tensor([(2 * i + 1) / (2 * N) for i in range(N)]))

    def soft_update(self):
        with torch.no_grad():
            for target, local in zip(self.qnetwork_target.parameters(), self.qnetwork_local.parameters()):
                target.mul_(1 - TAU).add_(local, alpha=TAU)


def calculate_huber_loss(td_errors, k=1.0):
    return torch.where(td_errors.abs() <= k, 0.5 * td_errors.pow(2), k * (td_errors.abs() - 0.5 * k))


def learn(agent, experiences, optimizer):
    states, actions, rewards, next_states, dones = experiences
    batch_size = states.size(0)
    with torch.no_grad():
        q_next = agent.qnetwork_target(next_states)
        action_indx = q_next.mean(dim=1).argmax(dim=1, keepdim=True)
        q_next = q_next.gather(2, action_indx.unsqueeze(-1).expand(batch_size, N, 1)).transpose(1, 2)
        q_targets = rewards.unsqueeze(-1) + GAMMA ** N_STEP * q_next * (1 - dones.unsqueeze(-1))
    q_expected = agent.qnetwork_local(states).gather(2, actions.unsqueeze(-1).expand(batch_size, N, 1))

    td_error = q_targets - q_expected
    assert td_error.shape == (batch_size, N, N), 'wrong td error shape'
    huber_l = calculate_huber_loss(td_error, 1.0)
    quantil_l = torch.abs(agent.quantile_tau - (td_error.detach() < 0).float()) * huber_l
    loss = quantil_l.sum(dim=1).mean(dim=1).mean()

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    agent.soft_update()
    return loss.detach()


def build():
    return Agent()


def step(model):
    batch = 16
    experiences = (torch.randn(batch, 4), torch.randint(0, 3, (batch, 1)), torch.randn(batch, 1), torch.randn(batch, 4),
                   (torch.rand(batch, 1) < 0.1).float())
    return learn(model, experiences, torch.optim.Adam(model.qnetwork_local.parameters(), lr=1e-3))


# real fix: quantile_tau.view(1, N, 1): td_error[b, i, j] belongs to the predicted quantile i
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub'], dim=None, got=None, wanted=None,
             hint_any=['view(1, -1, 1)', 'unsqueeze', 'quantile', 'predicted', 'last dim', 'axis', 'broadcast'])
MENDED = [('torch.abs(agent.quantile_tau - ', 'torch.abs(agent.quantile_tau.view(1, N, 1) - ')]
