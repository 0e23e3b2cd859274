import torch
from torch import nn
import torch.nn.functional as F
from torch.distributions import Normal, Independent

SOURCE = 'https://github.com/mfederici/Multi-View-Information-Bottleneck/issues/3'
CATEGORY = 'correct'
DESCRIPTION = 'Multi-view information bottleneck: two distorted views of a digit, an encoder for each, mutual information against a symmetric divergence.'


class Encoder(nn.Module):
    def __init__(self, z_dim, hidden=48):
        super().__init__()
        self.z_dim = z_dim
        self.net = nn.Sequential(nn.Linear(14 * 14, hidden), nn.ReLU(True), nn.Linear(hidden, hidden), nn.ReLU(True),
                                 nn.Linear(hidden, z_dim * 2))

    def forward(self, x):
        params = self.net(x.view(x.size(0), -1))
        mu, sigma = params[:, :self.z_dim], params[:, self.z_dim:]
        sigma = F.softplus(sigma) + 1e-7
        return Independent(Normal(loc=mu, scale=sigma), 1)


class MIEstimator(nn.Module):
    def __init__(self, size1, size2, hidden=48):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size1 + size2, hidden), nn.ReLU(True), nn.Linear(hidden, 1))

    def forward(self, x1, x2):
        pos = self.net(torch.cat([x1, x2], 1))
        neg = self.net(torch.cat([torch.roll(x1, 1, 0), x2], 1))
        return -F.softplus(-pos).mean() - F.softplus(neg).mean(), pos.mean() - neg.exp().mean() + 1


class MIBTrainer(nn.Module):
    def __init__(self, z_dim=8, beta=1e-3):
        super().__init__()
        self.beta = beta
        self.mi_estimator = MIEstimator(z_dim, z_dim)
        self.encoder_v1 = Encoder(z_dim)
        self.encoder_v2 = self.encoder_v1

    def compute_loss(self, v1, v2):
        p_z1_given_v1 = self.encoder_v1(v1)
        p_z2_given_v2 = self.encoder_v2(v2)
        z1 = p_z1_given_v1.rsample()
        z2 = p_z2_given_v2.rsample()
        mi_gradient, mi_estimation = self.mi_estimator(z1, z2)
        kl_1_2 = p_z1_given_v1.log_prob(z1) - p_z2_given_v2.log_prob(z1)
        kl_2_1 = p_z2_given_v2.log_prob(z2) - p_z1_given_v1.log_prob(z2)
        skl = (kl_1_2 + kl_2_1).mean() / 2.
        return -mi_gradient + self.beta * skl


def augment(x):
    keep = (torch.rand(x.shape[0], 1, 14, 14) > 0.2).float()
    return x.roll(int(torch.randint(-1, 2, ())), dims=3) * keep


def build():
    return MIBTrainer()


def step(model):
    opt = torch.optim.Adam([
        {'params': model.encoder_v1.parameters(), 'lr': 1e-3},
        {'params': model.mi_estimator.parameters(), 'lr': 1e-3},
    ])
    for _ in range(3):
        x = torch.rand(16, 1, 14, 14)
        loss = model.compute_loss(augment(x), augment(x))
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.detach()


# both names are one encoder, and the optimizer is told of one: the views come from the same distribution (section 3.3)
TRUTH = dict(raises=None, culprits=[])
MENDED = []
