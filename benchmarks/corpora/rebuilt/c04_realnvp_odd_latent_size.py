import math

import torch
import torch.nn as nn

SOURCE = 'https://github.com/VincentStimper/normalizing-flows/issues/62'
CATEGORY = 'layer'
DESCRIPTION = 'RealNVP on five features: the parameter nets are sized with latent_size//2 = 2, the split gives the larger half, three, first.'

latent_size = 5


class MLP(nn.Module):
    def __init__(self, layers, leaky=0.0, init_zeros=False):
        super().__init__()
        net = []
        for k in range(len(layers) - 2):
            net += [nn.Linear(layers[k], layers[k + 1]), nn.LeakyReLU(leaky)]
        net.append(nn.Linear(layers[-2], layers[-1]))
        if init_zeros:
            nn.init.zeros_(net[-1].weight)
            nn.init.zeros_(net[-1].bias)
        self.net = nn.Sequential(*net)

    def forward(self, x):
        return self.net(x)


class AffineCoupling(nn.Module):
    def __init__(self, param_map, scale_map='exp'):
        super().__init__()
        self.param_map = param_map
        self.scale_map = scale_map

    def inverse(self, z1, z2):
        param = self.param_map(z1)
        shift, scale = param[:, 0::2], param[:, 1::2]
        if self.scale_map == 'sigmoid':
            scale = torch.sigmoid(scale + 2)
            return z1, (z2 - shift) * scale, torch.log(scale).sum(1)
        return z1, (z2 - shift) * torch.exp(-scale), -scale.sum(1)


class AffineCouplingBlock(nn.Module):
    """Split, affine transformation of one half, merge."""

    def __init__(self, param_map, scale_map='exp'):
        super().__init__()
        self.coupling = AffineCoupling(param_map, scale_map)

    def inverse(self, z):
        z1, z2 = z.chunk(2, dim=1)
        z1, z2, log_det = self.coupling.inverse(z1, z2)
        return torch.cat([z1, z2], 1), log_det


class Permute(nn.Module):
    def __init__(self, num_channels, mode='shuffle'):
        super().__init__()
        self.mode, self.num_channels = mode, num_channels
        if mode == 'shuffle':
            self.register_buffer('perm', torch.randperm(num_channels))

    def inverse(self, z):
        log_det = torch.zeros(len(z))
        if self.mode == 'shuffle':
            return z[:, self.perm.argsort()], log_det
        half = (self.num_channels + 1) // 2
        return torch.cat([z[:, half:], z[:, :half]], 1), log_det


class DiagGaussian(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.d = shape
        self.loc = nn.Parameter(torch.zeros(1, shape))
        self.log_scale = nn.Parameter(torch.zeros(1, shape))

    def log_prob(self, z):
        eps = (z - self.loc) / torch.exp(self.log_scale)
        return -0.5 * self.d * math.log(2 * math.pi) - (self.log_scale + 0.5 * eps ** 2).sum(1)


class NormalizingFlow(nn.Module):
    def __init__(self, q0, flows):
        super().__init__()
        self.q0, self.flows = q0, nn.ModuleList(flows)

    def forward_kld(self, x):
        log_q, z = torch.zeros(len(x)), x
        for flow in reversed(self.flows):
            z, log_det = flow.inverse(z)
            log_q = log_q + log_det
        return -(log_q + self.q0.log_prob(z)).mean()


def build():
    base = DiagGaussian(latent_size)
    flows = []
    for i in range(4):
        param_map = MLP([latent_size // 2, 64, 64, latent_size], init_zeros=True)
        flows.append(AffineCouplingBlock(param_map))
        flows.append(Permute(latent_size, mode='swap'))
    return NormalizingFlow(base, flows)


def step(model):
    x = torch.rand(10, latent_size)
    return model.forward_kld(x)


# real fix: sizes as the split makes them, MLP([latent_size - latent_size // 2, 64, 64, 2 * (latent_size // 2)])
# offending tensor: z1 (10, 3), Linear(2, 64)
TRUTH = dict(raises='RuntimeError', at='module:flows.6.coupling.param_map.net.0',
             culprits=['flows.6.coupling.param_map.net.0', 'function:chunk', 'flows.6', 'input', 'flows.6.coupling.param_map'],
             dim=1, got=3, wanted=2, hint_any=['in_features', 'odd', 'even', 'chunk', 'split'])
MENDED = [('MLP([latent_size // 2, 64, 64, latent_size], init_zeros=True)', 'MLP([latent_size - latent_size // 2, 64, 64, 2 * (latent_size // 2)], init_zeros=True)')]
