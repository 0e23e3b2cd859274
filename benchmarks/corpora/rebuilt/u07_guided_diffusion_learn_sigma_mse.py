import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/openai/guided-diffusion/issues/98'
CATEGORY = 'loss'
DESCRIPTION = 'A guided-diffusion U-Net made with learn_sigma=True returns mean and variance (6 channels); the noise has 3.'


def model_and_diffusion_defaults():
    return dict(image_size=32, num_channels=16, num_res_blocks=1, channel_mult='1,2', learn_sigma=True,
                class_cond=False, diffusion_steps=1000, noise_schedule='linear', use_scale_shift_norm=True)


def timestep_embedding(timesteps, dim, max_period=10000):
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half, dtype=torch.float32) / half)
    args = timesteps[:, None].float() * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


class ResBlock(nn.Module):
    def __init__(self, channels, emb_channels, out_channels, use_scale_shift_norm):
        super().__init__()
        self.use_scale_shift_norm = use_scale_shift_norm
        self.in_layers = nn.Sequential(nn.GroupNorm(4, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels if use_scale_shift_norm else out_channels))
        self.out_layers = nn.Sequential(nn.GroupNorm(4, out_channels), nn.SiLU(), nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x, emb):
        h = self.in_layers(x)
        emb_out = self.emb_layers(emb)[..., None, None]
        if self.use_scale_shift_norm:
            scale, shift = torch.chunk(emb_out, 2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + emb_out)
        return self.skip_connection(x) + h


class UNetModel(nn.Module):
    def __init__(self, in_channels, model_channels, out_channels, num_res_blocks, channel_mult, use_scale_shift_norm):
        super().__init__()
        self.model_channels = model_channels
        ted = model_channels * 4
        self.time_embed = nn.Sequential(nn.Linear(model_channels, ted), nn.SiLU(), nn.Linear(ted, ted))
        self.input_conv = nn.Conv2d(in_channels, model_channels, 3, padding=1)
        self.input_blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        self.output_blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        ch, chans = model_channels, []
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                self.input_blocks.append(ResBlock(ch, ted, mult * model_channels, use_scale_shift_norm))
                ch = mult * model_channels
            chans.append(ch)
            self.downs.append(nn.Conv2d(ch, ch, 3, 2, 1))
        self.middle_block = ResBlock(ch, ted, ch, use_scale_shift_norm)
        for mult in channel_mult[::-1]:
            self.ups.append(nn.Upsample(scale_factor=2, mode='nearest'))
            self.output_blocks.append(ResBlock(ch + chans.pop(), ted, mult * model_channels, use_scale_shift_norm))
            ch = mult * model_channels
        self.out = nn.Sequential(nn.GroupNorm(4, ch), nn.SiLU(), nn.Conv2d(ch, out_channels, 3, padding=1))

    def forward(self, x, timesteps):
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels))
        h, hs = self.input_conv(x), []
        for block, down in zip(self.input_blocks, self.downs):
            h = block(h, emb)
            hs.append(h)
            h = down(h)
        h = self.middle_block(h, emb)
        for up, block in zip(self.ups, self.output_blocks):
            h = block(torch.cat([up(h), hs.pop()], dim=1), emb)
        return self.out(h)


def create_model(image_size, num_channels, num_res_blocks, channel_mult, learn_sigma, use_scale_shift_norm, **_):
    return UNetModel(in_channels=3, model_channels=num_channels, out_channels=(3 if not learn_sigma else 6),
                     num_res_blocks=num_res_blocks, channel_mult=[int(m) for m in channel_mult.split(',')],
                     use_scale_shift_norm=use_scale_shift_norm)


class GaussianDiffusion:
    def __init__(self, steps):
        self.num_timesteps = steps
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, steps), 0)

    def q_sample(self, x_start, t, noise):
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return a.sqrt() * x_start + (1 - a).sqrt() * noise

    def training_losses(self, model, x_start, t):
        noise = torch.randn_like(x_start)
        model_output = model(self.q_sample(x_start, t, noise), t)
        return F.mse_loss(model_output, noise, reduction='none').mean(dim=(1, 2, 3))


def build():
    return create_model(**model_and_diffusion_defaults())


def step(model):
    diffusion = GaussianDiffusion(model_and_diffusion_defaults()['diffusion_steps'])
    batch = torch.rand(4, 3, 32, 32) * 2 - 1
    t = torch.randint(0, diffusion.num_timesteps, (4,))
    return diffusion.training_losses(model, batch, t).mean()


# real fix: learn_sigma has to agree between the model and the loss (False here, or split the output and use the first 3 channels)
# offending tensor: the model's output (4, 6, 32, 32)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['out.2', 'out'], dim=1, got=6, wanted=3,
             hint_any=['learn_sigma', 'out_channels', 'variance', 'chunk', 'split', '[:, :3]'])
MENDED = [('learn_sigma=True', 'learn_sigma=False')]
