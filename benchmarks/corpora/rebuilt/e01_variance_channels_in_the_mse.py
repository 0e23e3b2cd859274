import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jychoi118/ilvr_adm/issues/27 (and JuliaWolleb/Diffusion-based-Segmentation#7)'
CATEGORY = 'layer'
DESCRIPTION = 'Guided diffusion: create_model is told learn_sigma=True (6 channels), create_gaussian_diffusion is left at its default: the plain MSE meets 3 against 6 channels.'


def model_defaults():
    return dict(image_size=32, num_channels=16, channel_mult=(1, 2), learn_sigma=True, num_groups=8, dropout=0.0)


def diffusion_defaults():
    return dict(steps=100, learn_sigma=False, noise_schedule='linear')


def timestep_embedding(timesteps, dim, max_period=10000):
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half).float() / half)
    args = timesteps[:, None].float() * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


class ResBlock(nn.Module):
    def __init__(self, cin, cout, emb, groups, dropout):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * cout))
        self.out_norm = nn.GroupNorm(groups, cout)
        self.out_layers = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(cout, cout, 3, padding=1))
        self.skip = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1)

    def forward(self, x, emb):
        h = self.in_layers(x)
        scale, shift = self.emb_layers(emb)[..., None, None].chunk(2, dim=1)
        h = self.out_norm(h) * (1 + scale) + shift
        return self.skip(x) + self.out_layers(h)


class UNetModel(nn.Module):
    def __init__(self, in_channels, model_channels, out_channels, channel_mult, groups, dropout):
        super().__init__()
        emb = model_channels * 4
        self.model_channels = model_channels
        self.time_embed = nn.Sequential(nn.Linear(model_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        c0, c1 = [model_channels * m for m in channel_mult]
        self.stem = nn.Conv2d(in_channels, c0, 3, padding=1)
        self.down0 = ResBlock(c0, c0, emb, groups, dropout)
        self.down1 = ResBlock(c0, c1, emb, groups, dropout)
        self.middle = ResBlock(c1, c1, emb, groups, dropout)
        self.up0 = ResBlock(c1 + c0, c0, emb, groups, dropout)
        self.out = nn.Sequential(nn.GroupNorm(groups, c0), nn.SiLU(), nn.Conv2d(c0, out_channels, 3, padding=1))

    def forward(self, x, timesteps):
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels))
        h0 = self.down0(self.stem(x), emb)
        h = self.middle(self.down1(F.avg_pool2d(h0, 2), emb), emb)
        h = torch.cat([F.interpolate(h, scale_factor=2), h0], dim=1)
        return self.out(self.up0(h, emb))


class GaussianDiffusion:
    def __init__(self, steps, learn_sigma, noise_schedule):
        self.steps, self.learn_sigma = steps, learn_sigma
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, steps), 0)

    def q_sample(self, x, t, noise):
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return a.sqrt() * x + (1 - a).sqrt() * noise

    def training_losses(self, model, x_start, t):
        noise = torch.randn_like(x_start)
        model_output = model(self.q_sample(x_start, t, noise), t)
        terms = {'vb': 0.0}
        if self.learn_sigma:
            b, c = x_start.shape[:2]
            model_output, model_var_values = torch.split(model_output, c, dim=1)
            terms['vb'] = 1e-3 * model_var_values.pow(2).mean()
        terms['mse'] = ((noise - model_output) ** 2).mean(dim=(1, 2, 3))
        return terms['mse'].mean() + terms['vb']


def build():
    args = model_defaults()
    return UNetModel(3, args['num_channels'], 3 if not args['learn_sigma'] else 6, args['channel_mult'], args['num_groups'],
                     args['dropout'])


def step(model):
    diffusion = GaussianDiffusion(**diffusion_defaults())
    batch = torch.rand(2, 3, 32, 32) * 2 - 1
    t = torch.randint(0, diffusion.steps, (2,))
    return diffusion.training_losses(model, batch, t)


# real fix: the same learn_sigma for the model and for the diffusion (maintainer: train with --learn_sigma True)
# offending tensor: model_output (2, 6, 32, 32), 3 channels wanted
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['out.2', 'out'], dim=1, got=6, wanted=3,
             hint_any=['out_channels', 'split', 'chunk', 'channel'])
MENDED = [('dict(steps=100, learn_sigma=False', 'dict(steps=100, learn_sigma=True')]
