import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SIZE, WIDTH, STEPS, EMBED = 4, 16, 8, 50, 12


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.time_mlp = nn.Sequential(
            nn.Linear(EMBED, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH)
        )
        self.conv_in = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.norm = nn.GroupNorm(4, WIDTH)
        self.conv_mid = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.conv_out = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def embed_time(self, t):
        half = EMBED // 2
        freqs = torch.exp(-torch.arange(half) / half * 4.0)
        angles = t[:, None].float() * freqs[None, :]
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def forward(self, x, t):
        emb = self.time_mlp(self.embed_time(t))
        h = self.conv_in(x)
        h = h + emb[:, :, None, None]
        h = self.conv_mid(F.silu(self.norm(h)))
        return self.conv_out(F.silu(h))


def build():
    return Denoiser()


def step(model):
    betas = torch.linspace(1e-4, 0.02, STEPS)
    alphas_bar = torch.cumprod(1 - betas, dim=0)
    x0 = torch.randn(BATCH, 3, SIZE, SIZE)
    t = torch.randint(0, STEPS, (BATCH,))
    noise = torch.randn_like(x0)
    a = alphas_bar[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * noise
    return F.mse_loss(model(x_t, t), noise)


EQUAL = dict(BATCH=8, SIZE=8, WIDTH=8, STEPS=8, EMBED=8)
