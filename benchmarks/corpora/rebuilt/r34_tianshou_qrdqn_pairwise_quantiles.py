import copy
import warnings
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thu-ml/tianshou/issues/393'
CATEGORY = 'correct'
DESCRIPTION = 'QR-DQN loss of tianshou: target (B,1,N) against current (B,N,1) is meant to broadcast to every pair of quantiles (B,N,N).'


class QNet(nn.Module):
    def __init__(self, obs_dim, n_actions, num_quantiles):
        super().__init__()
        self.n_actions, self.num_quantiles = n_actions, num_quantiles
        self.model = nn.Sequential(nn.Linear(obs_dim, 64), nn.ReLU(), nn.Linear(64, n_actions * num_quantiles))

    def forward(self, obs):
        return self.model(obs).view(-1, self.n_actions, self.num_quantiles)


class QRDQNPolicy(nn.Module):
    def __init__(self, obs_dim=6, n_actions=4, num_quantiles=16, gamma=0.99):
        super().__init__()
        self.model = QNet(obs_dim, n_actions, num_quantiles)
        self.model_old = copy.deepcopy(self.model).eval().requires_grad_(False)
        tau = torch.linspace(0, 1, num_quantiles + 1)
        self.tau_hat = nn.Parameter(((tau[:-1] + tau[1:]) / 2).view(1, -1, 1), requires_grad=False)
        self.gamma = gamma

    def compute_q_value(self, logits):
        return logits.mean(2)

    def target_dist(self, batch):
        with torch.no_grad():
            act = self.compute_q_value(self.model(batch['obs_next'])).argmax(1)
            next_dist = self.model_old(batch['obs_next'])
            next_dist = next_dist[torch.arange(len(act)), act, :]
        not_done = (1 - batch['done']).unsqueeze(1)
        return batch['rew'].unsqueeze(1) + self.gamma * not_done * next_dist

    def learn(self, batch):
        target_dist = self.target_dist(batch).unsqueeze(1)
        weight = batch['weight']
        curr_dist = self.model(batch['obs'])
        act = batch['act']
        curr_dist = curr_dist[torch.arange(len(act)), act, :].unsqueeze(2)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            u = F.smooth_l1_loss(target_dist, curr_dist, reduction='none')
        huber_loss = (u * (self.tau_hat - (target_dist - curr_dist).detach().le(0.).float()).abs()).sum(-1).mean(1)
        return (huber_loss * weight).mean(), u.detach().abs().sum(-1).mean(1)


def sample_batch(size):
    return dict(obs=torch.randn(size, 6), obs_next=torch.randn(size, 6), act=torch.randint(0, 4, (size,)),
                rew=torch.randn(size), done=(torch.rand(size) < 0.1).float(), weight=torch.rand(size))


def build():
    return QRDQNPolicy()


def step(model):
    loss, priority = model.learn(sample_batch(16))
    return loss


TRUTH = dict(raises=None, at=None, culprits=[])
