import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/MiaoyunZhao/GANTransferLimitedData/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'Label embedding is concatenated to z and fed to the style network and the first dense layer, both still sized for z alone.'

config = {
    'generator': {'nf': 8, 's0': 4, 'embed_size': 64, 'style_dim': 64, 'n_mlp': 3},
    'z_dist': {'dim': 64},
    'data': {'nlabels': 10, 'img_size': 16},
}


class PixelNorm(nn.Module):
    def forward(self, input):
        return input * torch.rsqrt(torch.mean(input ** 2, dim=1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    def __init__(self, in_dim, out_dim, lr_mul=0.1):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim).div_(lr_mul))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.scale = (1 / math.sqrt(in_dim)) * lr_mul
        self.lr_mul = lr_mul

    def forward(self, input):
        return F.leaky_relu(F.linear(input, self.weight * self.scale, bias=self.bias * self.lr_mul), 0.2)


class AdaFMBlock(nn.Module):
    def __init__(self, fin, fout, style_dim):
        super().__init__()
        self.conv_0 = nn.Conv2d(fin, fout, 3, padding=1)
        self.conv_1 = nn.Conv2d(fout, fout, 3, padding=1)
        self.conv_s = nn.Conv2d(fin, fout, 1, bias=False)
        self.gamma = nn.Linear(style_dim, fout)
        self.beta = nn.Linear(style_dim, fout)

    def forward(self, x, style_w):
        dx = self.conv_0(F.leaky_relu(x, 0.2))
        g, b = self.gamma(style_w)[:, :, None, None], self.beta(style_w)[:, :, None, None]
        dx = self.conv_1(F.leaky_relu(F.instance_norm(dx) * (1 + g) + b, 0.2))
        return self.conv_s(x) + 0.1 * dx


class Generator(nn.Module):
    def __init__(self, z_dim, nlabels, size, embed_size, nf, s0, style_dim, n_mlp):
        super().__init__()
        self.s0, self.small_nf = s0, nf
        self.embedding = nn.Embedding(nlabels, embed_size)
        layers = [PixelNorm(), EqualLinear(z_dim, style_dim)]
        for _ in range(n_mlp - 1):
            layers.append(EqualLinear(style_dim, style_dim))
        self.small_style = nn.Sequential(*layers)
        self.small_fc = nn.Linear(z_dim, 4 * nf * s0 * s0)
        self.small_block_0 = AdaFMBlock(4 * nf, 2 * nf, style_dim)
        self.small_block_1 = AdaFMBlock(2 * nf, nf, style_dim)
        self.conv_img = nn.Conv2d(nf, 3, 3, padding=1)

    def forward(self, z, y):
        batch_size = z.size(0)
        yembed = self.embedding(y)
        yembed = yembed / torch.norm(yembed, p=2, dim=1, keepdim=True)
        yz = torch.cat([z, yembed], dim=1)
        style_w = self.small_style(yz)
        out = self.small_fc(yz)
        out = out.view(batch_size, 4 * self.small_nf, self.s0, self.s0)
        out = F.interpolate(self.small_block_0(out, style_w), scale_factor=2)
        out = F.interpolate(self.small_block_1(out, style_w), scale_factor=2)
        return torch.tanh(self.conv_img(F.leaky_relu(out, 0.2)))


class Discriminator(nn.Module):
    def __init__(self, nlabels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2))
        self.fc = nn.Linear(32 * 16, nlabels)

    def forward(self, x, y):
        out = self.fc(self.body(x).flatten(1))
        return out[torch.arange(out.size(0)), y]


class GAN(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.generator = Generator(config['z_dist']['dim'], config['data']['nlabels'], config['data']['img_size'], **config['generator'])
        self.discriminator = Discriminator(config['data']['nlabels'])


def build():
    torch.manual_seed(0)
    return GAN(config)


def step(model):
    y = torch.randint(0, config['data']['nlabels'], (6,))
    z = torch.randn(6, config['z_dist']['dim'])
    d_fake = model.discriminator(model.generator(z, y), y)
    return F.binary_cross_entropy_with_logits(d_fake, torch.ones_like(d_fake))


# real fix: z_dim + embed_size in the first layer of the style network and in small_fc
TRUTH = dict(raises='RuntimeError', at='function:linear', culprits=['generator.small_style.1', 'generator.small_style', 'generator.small_fc'],
             dim=1, got=128, wanted=64, hint_any=['128', 'embed', 'in_dim', 'in_features', 'cat', 'concat'])
MENDED = [('EqualLinear(z_dim, style_dim)', 'EqualLinear(z_dim + embed_size, style_dim)'),
          ('nn.Linear(z_dim, 4 * nf * s0 * s0)', 'nn.Linear(z_dim + embed_size, 4 * nf * s0 * s0)')]
