import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wohlert/semi-supervised-pytorch/issues/21'
CATEGORY = 'silent'
DESCRIPTION = 'VAE with planar flows: the flow returns one log determinant for each sample; the model calls sum() on it once more, so each sample gets the sum over the whole batch.'


def log_standard_gaussian(x):
    return torch.sum(-0.5 * math.log(2 * math.pi) - x ** 2 / 2, dim=-1)


def log_gaussian(x, mu, log_var):
    log_pdf = -0.5 * math.log(2 * math.pi) - log_var / 2 - (x - mu) ** 2 / (2 * torch.exp(log_var))
    return torch.sum(log_pdf, dim=-1)


class PlanarNormalizingFlow(nn.Module):
    def __init__(self, in_features):
        super().__init__()
        self.u = nn.Parameter(torch.randn(in_features))
        self.w = nn.Parameter(torch.randn(in_features))
        self.b = nn.Parameter(torch.ones(1))

    def forward(self, z):
        uw = torch.dot(self.u, self.w)
        u_hat = self.u + (F.softplus(uw) - 1 - uw) * self.w / torch.sum(self.w ** 2)
        zwb = torch.mv(z, self.w) + self.b
        f_z = z + u_hat.view(1, -1) * torch.tanh(zwb).view(-1, 1)
        psi = (1 - torch.tanh(zwb) ** 2).view(-1, 1) * self.w.view(1, -1)
        psi_u = torch.mv(psi, u_hat)
        return f_z, torch.log(torch.abs(1 + psi_u) + 1e-8)


class NormalizingFlows(nn.Module):
    def __init__(self, in_features, n_flows=4):
        super().__init__()
        self.flows = nn.ModuleList(PlanarNormalizingFlow(in_features) for _ in range(n_flows))

    def forward(self, z):
        log_det_jacobian = []
        for flow in self.flows:
            z, j = flow(z)
            log_det_jacobian.append(j)
        return z, sum(log_det_jacobian)


class VariationalAutoencoder(nn.Module):
    def __init__(self, x_dim=100, h_dim=32, z_dim=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(x_dim, h_dim), nn.ReLU())
        self.mu, self.log_var = nn.Linear(h_dim, z_dim), nn.Linear(h_dim, z_dim)
        self.decoder = nn.Sequential(nn.Linear(z_dim, h_dim), nn.ReLU(), nn.Linear(h_dim, x_dim), nn.Sigmoid())
        self.flow = NormalizingFlows(z_dim)
        self.kl_divergence = 0

    def _kld(self, z, q_param):
        mu, log_var = q_param
        f_z, log_det_z = self.flow(z)
        qz = log_gaussian(z, mu, log_var) - sum(log_det_z)
        pz = log_standard_gaussian(f_z)
        return qz - pz, f_z

    def forward(self, x):
        h = self.encoder(x)
        mu, log_var = self.mu(h), F.softplus(self.log_var(h))
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        self.kl_divergence, z = self._kld(z, (mu, log_var))
        return self.decoder(z)


def build():
    return VariationalAutoencoder()


def step(model):
    x = torch.rand(12, 100).round()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    reconstruction = model(x)
    likelihood = -F.binary_cross_entropy(reconstruction, x, reduction='none').sum(dim=-1)
    elbo = likelihood - model.kl_divergence
    loss = -torch.mean(elbo)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: qz = log_gaussian(z, mu, log_var) - log_det_z; (12,) minus a scalar
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub', 'function:add', 'function:sum', 'function:iter', 'function:unbind'],
             dim=None, got=None, wanted=None, hint_any=['sum', 'batch', 'scalar', 'log_det', 'sample'])
MENDED = [('- sum(log_det_z)', '- log_det_z')]
