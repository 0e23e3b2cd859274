import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVlabs/stylegan2-ada-pytorch/blob/main/training/networks.py'
CATEGORY = 'correct'
DESCRIPTION = 'StyleGAN2 discriminator: MinibatchStdLayer groups samples with a view of the batch on purpose; D step on detached images, then G step.'


class FullyConnected(nn.Module):
    def __init__(self, fin, fout, act=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fout, fin))
        self.bias = nn.Parameter(torch.zeros(fout))
        self.gain, self.act = 1 / math.sqrt(fin), act

    def forward(self, x):
        x = torch.addmm(self.bias.unsqueeze(0), x, (self.weight * self.gain).t())
        return F.leaky_relu(x, 0.2) if self.act else x


class MinibatchStdLayer(nn.Module):
    def __init__(self, group_size, num_channels=1):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x):
        N, C, H, W = x.shape
        G = min(self.group_size, N) if self.group_size is not None else N
        F = self.num_channels
        c = C // F
        y = x.reshape(G, -1, F, c, H, W)
        y = y - y.mean(dim=0)
        y = y.square().mean(dim=0)
        y = (y + 1e-8).sqrt()
        y = y.mean(dim=[2, 3, 4])
        y = y.reshape(-1, F, 1, 1)
        y = y.repeat(G, 1, H, W)
        return torch.cat([x, y], dim=1)


class Discriminator(nn.Module):
    def __init__(self, width=8, mbstd_num_channels=2):
        super().__init__()
        self.fromrgb = nn.Conv2d(3, width, 1)
        self.conv0 = nn.Conv2d(width, width, 3, 2, 1)
        self.mbstd = MinibatchStdLayer(4, mbstd_num_channels)
        self.conv = nn.Conv2d(width + mbstd_num_channels, width, 3, padding=1)
        self.fc = FullyConnected(width * 16, width)
        self.out = FullyConnected(width, 1, act=False)

    def forward(self, img):
        x = F.leaky_relu(self.fromrgb(img), 0.2)
        x = F.leaky_relu(self.conv0(x), 0.2)
        x = F.leaky_relu(self.conv(self.mbstd(x)), 0.2)
        return self.out(self.fc(x.flatten(1)))


class Generator(nn.Module):
    def __init__(self, z_dim=6, width=8):
        super().__init__()
        self.mapping = nn.Sequential(FullyConnected(z_dim, z_dim), FullyConnected(z_dim, width * 16))
        self.synthesis = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 1))

    def forward(self, z):
        z = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        return self.synthesis(self.mapping(z).view(len(z), -1, 4, 4))


class StyleGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G, self.D = Generator(), Discriminator()


def build():
    return StyleGAN()


def step(model):
    G, D = model.G, model.D
    opt_g, opt_d = [torch.optim.Adam(m.parameters(), lr=2e-3, betas=(0.0, 0.99)) for m in (G, D)]
    real = torch.randn(8, 3, 8, 8)

    opt_d.zero_grad()
    real_tmp = real.detach().requires_grad_(True)
    real_logits = D(real_tmp)
    loss_d = F.softplus(D(G(torch.randn(8, 6)).detach())).mean() + F.softplus(-real_logits).mean()
    r1_grads, = torch.autograd.grad([real_logits.sum()], [real_tmp], create_graph=True)
    r1_penalty = r1_grads.square().sum([1, 2, 3])
    (loss_d + (r1_penalty * 5).mean()).backward()
    opt_d.step()

    opt_g.zero_grad()
    D.requires_grad_(False)
    loss_g = F.softplus(-D(G(torch.randn(8, 6)))).mean()
    loss_g.backward()
    opt_g.step()
    D.requires_grad_(True)
    return loss_g.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
