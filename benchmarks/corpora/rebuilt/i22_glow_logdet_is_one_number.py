from math import log, pi

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/rosinality/glow-pytorch/issues/14'
CATEGORY = 'correct'
DESCRIPTION = 'Glow with additive coupling: log_p is (batch,), logdet a single number; ActNorm and the 1x1 convolution have the same determinant for each image, so the scalar is broadcast rightly.'


class ActNorm(nn.Module):
    def __init__(self, in_channel):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, in_channel, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, in_channel, 1, 1))
        self.register_buffer('initialized', torch.tensor(0, dtype=torch.uint8))

    def initialize(self, x):
        with torch.no_grad():
            flatten = x.permute(1, 0, 2, 3).contiguous().view(x.shape[1], -1)
            mean = flatten.mean(1).view(1, -1, 1, 1)
            std = flatten.std(1).view(1, -1, 1, 1)
            self.loc.copy_(-mean)
            self.scale.copy_(1 / (std + 1e-6))

    def forward(self, x):
        _, _, height, width = x.shape
        if self.initialized.item() == 0:
            self.initialize(x)
            self.initialized.fill_(1)
        logdet = height * width * torch.sum(torch.log(torch.abs(self.scale)))
        return self.scale * (x + self.loc), logdet


class InvConv2d(nn.Module):
    def __init__(self, in_channel):
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(in_channel, in_channel))
        self.weight = nn.Parameter(q.unsqueeze(2).unsqueeze(3))

    def forward(self, x):
        _, _, height, width = x.shape
        logdet = height * width * torch.slogdet(self.weight.squeeze().double())[1].float()
        return F.conv2d(x, self.weight), logdet


class AdditiveCoupling(nn.Module):
    def __init__(self, in_channel, filter_size=32):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(in_channel // 2, filter_size, 3, padding=1), nn.ReLU(inplace=True),
                                 nn.Conv2d(filter_size, filter_size, 1), nn.ReLU(inplace=True),
                                 nn.Conv2d(filter_size, in_channel // 2, 3, padding=1))
        self.net[4].weight.data.normal_(0, 0.01)

    def forward(self, x):
        in_a, in_b = x.chunk(2, 1)
        return torch.cat([in_a, in_b + self.net(in_a)], 1)


class Flow(nn.Module):
    def __init__(self, in_channel):
        super().__init__()
        self.actnorm, self.invconv, self.coupling = ActNorm(in_channel), InvConv2d(in_channel), AdditiveCoupling(in_channel)

    def forward(self, x):
        out, det1 = self.actnorm(x)
        out, det2 = self.invconv(out)
        return self.coupling(out), det1 + det2


def gaussian_log_p(x, mean, log_sd):
    return -0.5 * log(2 * pi) - log_sd - 0.5 * (x - mean) ** 2 / torch.exp(2 * log_sd)


def squeeze2d(x):
    b, c, height, width = x.shape
    x = x.view(b, c, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return x.contiguous().view(b, c * 4, height // 2, width // 2)


class Glow(nn.Module):
    def __init__(self, in_channel=3, n_flow=4):
        super().__init__()
        self.flows = nn.ModuleList(Flow(in_channel * 4) for _ in range(n_flow))
        self.prior = nn.Conv2d(in_channel * 4, in_channel * 8, 3, padding=1)

    def forward(self, x):
        out, logdet = squeeze2d(x), 0
        for flow in self.flows:
            out, det = flow(out)
            logdet = logdet + det
        mean, log_sd = self.prior(torch.zeros_like(out)).chunk(2, 1)
        log_p = gaussian_log_p(out, mean, log_sd).view(x.shape[0], -1).sum(1)
        return log_p, logdet


def calc_loss(log_p, logdet, image_size, n_bins):
    n_pixel = image_size * image_size * 3
    loss = -log(n_bins) * n_pixel
    loss = loss + logdet + log_p
    return (-loss / (log(2) * n_pixel)).mean()


def build():
    return Glow()


def step(model):
    n_bins = 2.0 ** 5
    image = torch.floor(torch.rand(6, 3, 16, 16) * 32) / n_bins - 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    log_p, logdet = model(image + torch.rand_like(image) / n_bins)
    loss = calc_loss(log_p, logdet, 16, n_bins)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
