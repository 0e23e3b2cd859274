import copy

import torch
import torch.nn as nn

SOURCE = 'https://github.com/toshikwa/fqf-iqn-qrdqn.pytorch/issues/16'
CATEGORY = 'correct'
DESCRIPTION = 'QR-DQN with 3-step returns and priorities: (8,1,8) targets minus (8,8,1) quantiles, all pairs on purpose; batch, quantiles and target quantiles are all 8.'


class QuantileNetwork(nn.Module):
    def __init__(self, obs=6, num_actions=4, N=8, hidden=32):
        super().__init__()
        self.N, self.num_actions = N, num_actions
        self.features = nn.Sequential(nn.Linear(obs, hidden), nn.ReLU())
        self.advantage_net = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, num_actions * N))
        self.baseline_net = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, N))

    def forward(self, states):
        embeddings = self.features(states)
        advantages = self.advantage_net(embeddings).view(-1, self.N, self.num_actions)
        baselines = self.baseline_net(embeddings).view(-1, self.N, 1)
        return baselines + advantages - advantages.mean(dim=2, keepdim=True)

    def calculate_q(self, states):
        return self(states).mean(dim=1)


def evaluate_quantile_at_action(s_quantiles, actions):
    batch_size, N = s_quantiles.shape[0], s_quantiles.shape[1]
    action_index = actions[..., None].expand(batch_size, N, 1)
    return s_quantiles.gather(dim=2, index=action_index)


def calculate_huber_loss(td_errors, kappa=1.0):
    return torch.where(td_errors.abs() <= kappa, 0.5 * td_errors.pow(2), kappa * (td_errors.abs() - 0.5 * kappa))


def calculate_quantile_huber_loss(td_errors, taus, weights=None, kappa=1.0):
    element_wise_huber_loss = calculate_huber_loss(td_errors, kappa)
    element_wise_quantile_huber_loss = torch.abs(
        taus[..., None] - (td_errors.detach() < 0).float()) * element_wise_huber_loss / kappa
    batch_quantile_huber_loss = element_wise_quantile_huber_loss.sum(dim=1).mean(dim=1, keepdim=True)
    if weights is not None:
        return (batch_quantile_huber_loss * weights).mean()
    return batch_quantile_huber_loss.mean()


class QRDQNAgent(nn.Module):
    def __init__(self, N=8, multi_step=3, gamma=0.99):
        super().__init__()
        self.online_net = QuantileNetwork(N=N)
        self.target_net = copy.deepcopy(self.online_net)
        for param in self.target_net.parameters():
            param.requires_grad = False
        taus = torch.arange(0, N + 1, dtype=torch.float32) / N
        self.register_buffer('tau_hats', ((taus[1:] + taus[:-1]) / 2.0).view(1, N))
        self.gamma, self.multi_step = gamma, multi_step

    def n_step_return(self, reward_window):
        discounts = self.gamma ** torch.arange(self.multi_step)
        return (reward_window * discounts).sum(dim=1, keepdim=True)

    def calculate_loss(self, states, actions, rewards, next_states, dones, weights):
        current_sa_quantiles = evaluate_quantile_at_action(self.online_net(states), actions)
        with torch.no_grad():
            next_actions = self.online_net.calculate_q(next_states).argmax(dim=1, keepdim=True)
            next_sa_quantiles = evaluate_quantile_at_action(self.target_net(next_states), next_actions).transpose(1, 2)
            target_sa_quantiles = rewards[..., None] + (
                1.0 - dones[..., None]) * self.gamma ** self.multi_step * next_sa_quantiles
        td_errors = target_sa_quantiles - current_sa_quantiles
        return calculate_quantile_huber_loss(td_errors, self.tau_hats, weights)


def build():
    return QRDQNAgent()


def step(model):
    states, next_states, actions = torch.randn(8, 6), torch.randn(8, 6), torch.randint(0, 4, (8, 1))
    rewards = model.n_step_return(torch.randn(8, 3))
    dones = torch.zeros(8, 1)
    dones[3] = 1.0
    weights = torch.rand(8, 1)
    return model.calculate_loss(states, actions, rewards, next_states, dones, weights / weights.max())


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
