import io

import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/harubaru/waifu-diffusion/pull/31 (the same in https://github.com/huggingface/diffusers/issues/7549)'
CATEGORY = 'silent'
DESCRIPTION = 'Diffusion training on drawings with a moving average of the weights; a checkpoint is saved every few steps.'


class EMAModel:
    def __init__(self, parameters, decay=0.99):
        self.decay = decay
        self.shadow_params = [p.clone().detach() for p in parameters]
        self.collected_params = None
        self.optimization_step = 0

    @torch.no_grad()
    def step(self, parameters):
        self.optimization_step += 1
        decay = min(self.decay, (1 + self.optimization_step) / (10 + self.optimization_step))
        for s_param, param in zip(self.shadow_params, parameters):
            s_param.sub_((1 - decay) * (s_param - param))

    def copy_to(self, parameters):
        for s_param, param in zip(self.shadow_params, parameters):
            param.data.copy_(s_param.data)

    def store(self, parameters):
        self.collected_params = [param.clone().detach() for param in parameters]

    def restore(self, parameters):
        for c_param, param in zip(self.collected_params, parameters):
            param.data.copy_(c_param.data)


class ResBlock(nn.Module):
    def __init__(self, ch, time_dim):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, ch), nn.GroupNorm(4, ch)
        self.conv1, self.conv2 = nn.Conv2d(ch, ch, 3, padding=1), nn.Conv2d(ch, ch, 3, padding=1)
        self.time = nn.Linear(time_dim, ch)

    def forward(self, x, t):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(t)[:, :, None, None]
        return x + self.conv2(F.silu(self.norm2(h)))


class UNet(nn.Module):
    def __init__(self, channels=4, ch=16, time_dim=32):
        super().__init__()
        self.time_dim = time_dim
        self.time_embed = nn.Sequential(nn.Linear(time_dim, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.conv_in = nn.Conv2d(channels, ch, 3, padding=1)
        self.down = ResBlock(ch, time_dim)
        self.mid = ResBlock(ch, time_dim)
        self.up = ResBlock(ch, time_dim)
        self.conv_out = nn.Conv2d(ch, channels, 3, padding=1)

    def forward(self, x, t):
        freqs = torch.exp(-torch.arange(self.time_dim // 2) * 0.5)
        t = t[:, None].float() * freqs
        t = self.time_embed(torch.cat([t.sin(), t.cos()], dim=-1))
        skip = self.down(self.conv_in(x), t)
        h = self.mid(F.avg_pool2d(skip, 2), t)
        return self.conv_out(self.up(skip + F.interpolate(h, scale_factor=2), t))


class Scheduler:
    def __init__(self, steps=100):
        self.steps = steps
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.05, steps), 0)

    def add_noise(self, latents, noise, timesteps):
        a = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return a.sqrt() * latents + (1 - a).sqrt() * noise


class Args:
    lr, batch_size, steps, save_steps, use_ema = 4e-3, 8, 8, 3, True


def save_checkpoint(args, unet, ema_unet, store):
    if args.use_ema:
        ema_unet.copy_to(unet.parameters())
    file = io.BytesIO()
    torch.save(unet.state_dict(), file)
    store.append(file)


def build():
    return UNet()


def step(model):
    args, noise_scheduler, checkpoints = Args(), Scheduler(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    ema_unet = EMAModel(model.parameters())
    latents = torch.randn(args.batch_size, 4, 8, 8)
    model.train()
    for global_step in range(1, args.steps + 1):
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, noise_scheduler.steps, (args.batch_size,))
        noise_pred = model(noise_scheduler.add_noise(latents, noise, timesteps), timesteps)
        loss = F.mse_loss(noise_pred, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema_unet.step(model.parameters())
        if global_step % args.save_steps == 0:
            save_checkpoint(args, model, ema_unet, checkpoints)
    return loss.detach()


# every checkpoint overwrites the weights that are being trained with their moving average and nothing puts them back;
# real fix: store before copy_to, restore after saving
TRUTH = dict(raises=None, at='function:copy_', culprits=['function:copy_'], dim=None, got=None, wanted=None,
             hint_any=['ema', 'restore', 'overwrit', 'average', 'copy_'])
MENDED = [('        ema_unet.copy_to(unet.parameters())\n', '        ema_unet.store(unet.parameters())\n        ema_unet.copy_to(unet.parameters())\n'),
          ('    store.append(file)\n', '    store.append(file)\n    if args.use_ema:\n        ema_unet.restore(unet.parameters())\n')]
