import copy
import torch
import torch.nn as nn

SOURCE = 'https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/blob/master/sb3_contrib/common/utils.py'
CATEGORY = 'correct'
DESCRIPTION = 'QR-DQN: the quantile Huber loss takes every pair of predicted and target quantiles by broadcasting (B, N, 1) and (B, 1, N).'


def quantile_huber_loss(current_quantiles, target_quantiles, cum_prob=None, sum_over_quantiles=True):
    if current_quantiles.ndim != target_quantiles.ndim:
        raise ValueError('The dimension of current and target quantiles needs to match')
    if current_quantiles.shape[0] != target_quantiles.shape[0]:
        raise ValueError('batch size of current and target quantiles need to match')
    if cum_prob is None:
        n_quantiles = current_quantiles.shape[-1]
        cum_prob = (torch.arange(n_quantiles, dtype=torch.float) + 0.5) / n_quantiles
        cum_prob = cum_prob.view(1, -1, 1)
    # target_quantiles: (batch_size, n_target_quantiles) -> (batch_size, 1, n_target_quantiles)
    # current_quantiles: (batch_size, n_quantiles) -> (batch_size, n_quantiles, 1)
    pairwise_delta = target_quantiles.unsqueeze(-2) - current_quantiles.unsqueeze(-1)
    abs_pairwise_delta = torch.abs(pairwise_delta)
    huber_loss = torch.where(abs_pairwise_delta > 1, abs_pairwise_delta - 0.5, pairwise_delta ** 2 * 0.5)
    loss = torch.abs(cum_prob - (pairwise_delta.detach() < 0).float()) * huber_loss
    return loss.sum(dim=-2).mean() if sum_over_quantiles else loss.mean()


class QuantileNetwork(nn.Module):
    def __init__(self, obs_dim=6, n_actions=3, n_quantiles=8):
        super().__init__()
        self.n_actions, self.n_quantiles = n_actions, n_quantiles
        self.quantile_net = nn.Sequential(nn.Linear(obs_dim, 24), nn.ReLU(), nn.Linear(24, n_actions * n_quantiles))

    def forward(self, obs):
        return self.quantile_net(obs).view(-1, self.n_quantiles, self.n_actions)


class QRDQNPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.quantile_net = QuantileNetwork()
        self.quantile_net_target = copy.deepcopy(self.quantile_net)
        self.quantile_net_target.train(False)


def build():
    return QRDQNPolicy()


def step(policy, gamma=0.99, tau=0.05):
    b, n = 8, policy.quantile_net.n_quantiles
    obs, next_obs = torch.randn(b, 6), torch.randn(b, 6)
    actions, rewards, dones = torch.randint(0, 3, (b, 1)), torch.randn(b, 1), (torch.rand(b, 1) < 0.2).float()
    optimizer = torch.optim.Adam(policy.quantile_net.parameters(), lr=5e-4)
    with torch.no_grad():
        next_quantiles = policy.quantile_net_target(next_obs)
        next_greedy_actions = next_quantiles.mean(dim=1, keepdim=True).argmax(dim=2, keepdim=True)
        next_greedy_actions = next_greedy_actions.expand(b, n, 1)
        next_quantiles = next_quantiles.gather(dim=2, index=next_greedy_actions).squeeze(dim=2)
        target_quantiles = rewards + (1 - dones) * gamma * next_quantiles
    current_quantiles = policy.quantile_net(obs)
    index = actions[..., None].long().expand(b, n, 1)
    current_quantiles = torch.gather(current_quantiles, dim=2, index=index).squeeze(dim=2)
    loss = quantile_huber_loss(current_quantiles, target_quantiles, sum_over_quantiles=True)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(policy.quantile_net.parameters(), 10)
    optimizer.step()
    with torch.no_grad():
        for p, target in zip(policy.quantile_net.parameters(), policy.quantile_net_target.parameters()):
            target.mul_(1 - tau).add_(p, alpha=tau)
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
