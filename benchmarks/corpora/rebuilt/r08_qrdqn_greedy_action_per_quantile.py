import copy
import torch
import torch.nn as nn

SOURCE = 'https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/issues/17'
CATEGORY = 'silent'
DESCRIPTION = 'QR-DQN target takes max over actions for every quantile by itself; the greedy action of the mean over quantiles is meant.'


class QuantileNetwork(nn.Module):
    def __init__(self, obs_dim, n_actions, n_quantiles, net_arch=(32, 32)):
        super().__init__()
        layers, last = [], obs_dim
        for width in net_arch:
            layers += [nn.Linear(last, width), nn.ReLU()]
            last = width
        layers.append(nn.Linear(last, n_actions * n_quantiles))
        self.quantile_net = nn.Sequential(*layers)
        self.n_actions, self.n_quantiles = n_actions, n_quantiles

    def forward(self, obs):
        quantiles = self.quantile_net(obs)
        return quantiles.view(-1, self.n_quantiles, self.n_actions)


class QRDQNPolicy(nn.Module):
    def __init__(self, obs_dim=8, n_actions=4, n_quantiles=16):
        super().__init__()
        self.quantile_net = QuantileNetwork(obs_dim, n_actions, n_quantiles)
        self.quantile_net_target = copy.deepcopy(self.quantile_net)
        self.quantile_net_target.requires_grad_(False)
        for p in self.quantile_net_target.parameters():
            p.add_(0.1 * torch.randn_like(p))


def quantile_huber_loss(current_quantiles, target_quantiles):
    n_quantiles = current_quantiles.shape[-1]
    cum_prob = (torch.arange(n_quantiles) + 0.5) / n_quantiles
    cum_prob = cum_prob.view(1, -1, 1)
    pairwise_delta = target_quantiles.unsqueeze(-2) - current_quantiles.unsqueeze(-1)
    abs_pairwise_delta = torch.abs(pairwise_delta)
    huber_loss = torch.where(abs_pairwise_delta > 1, abs_pairwise_delta - 0.5, pairwise_delta ** 2 * 0.5)
    loss = torch.abs(cum_prob - (pairwise_delta.detach() < 0).float()) * huber_loss
    return loss.sum(dim=-2).mean()


class QRDQN:
    def __init__(self, policy, gamma=0.99, batch_size=16):
        self.quantile_net = policy.quantile_net
        self.quantile_net_target = policy.quantile_net_target
        self.gamma, self.batch_size = gamma, batch_size

    def sample(self):
        n = self.batch_size
        return dict(observations=torch.randn(n, 8), next_observations=torch.randn(n, 8), actions=torch.randint(0, 4, (n, 1)),
                    rewards=torch.randn(n, 1), dones=(torch.rand(n, 1) < 0.1).float())

    def train(self):
        replay_data = self.sample()
        with torch.no_grad():
            next_quantiles = self.quantile_net_target(replay_data['next_observations'])
            next_quantiles, _ = next_quantiles.max(dim=2)
            target_quantiles = replay_data['rewards'] + (1 - replay_data['dones']) * self.gamma * next_quantiles
        current_quantiles = self.quantile_net(replay_data['observations'])
        actions = replay_data['actions'][..., None].long().expand(self.batch_size, current_quantiles.shape[1], 1)
        current_quantiles = torch.gather(current_quantiles, dim=2, index=actions).squeeze(dim=2)
        return quantile_huber_loss(current_quantiles, target_quantiles)


def build():
    return QRDQNPolicy()


def step(model):
    return QRDQN(model).train()


# real fix: next_greedy_actions = next_quantiles.mean(dim=1).argmax(dim=1), then gather that action's quantiles
TRUTH = dict(raises=None, at='function:max', culprits=['function:max'], dim=2, got=4, wanted=None,
             hint_any=['mean', 'average', 'quantile', 'argmax', 'gather'])
MENDED = [('next_quantiles, _ = next_quantiles.max(dim=2)',
           'next_quantiles = next_quantiles[torch.arange(self.batch_size), :, next_quantiles.mean(dim=1).argmax(dim=1)]')]
