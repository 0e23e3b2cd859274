import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/pull/2753'
CATEGORY = 'correct'
DESCRIPTION = 'Offset noise: randn (B,C,1,1) is added to the noise (B,C,H,W) on purpose, one value per channel; timesteps differ per sample. B = H = W = 8.'


class DDPMScheduler:
    num_train_timesteps = 200

    def __init__(self, prediction_type='epsilon'):
        betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, self.num_train_timesteps) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        self.prediction_type = prediction_type

    def coefficients(self, samples, timesteps):
        sqrt_alpha_prod = (self.alphas_cumprod[timesteps] ** 0.5).flatten()
        sqrt_one_minus_alpha_prod = ((1 - self.alphas_cumprod[timesteps]) ** 0.5).flatten()
        while len(sqrt_alpha_prod.shape) < len(samples.shape):
            sqrt_alpha_prod = sqrt_alpha_prod.unsqueeze(-1)
            sqrt_one_minus_alpha_prod = sqrt_one_minus_alpha_prod.unsqueeze(-1)
        return sqrt_alpha_prod, sqrt_one_minus_alpha_prod

    def add_noise(self, original_samples, noise, timesteps):
        a, s = self.coefficients(original_samples, timesteps)
        return a * original_samples + s * noise

    def get_velocity(self, sample, noise, timesteps):
        a, s = self.coefficients(sample, timesteps)
        return a * noise - s * sample


class CrossAttention(nn.Module):
    def __init__(self, query_dim, context_dim, heads=4):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(query_dim, query_dim, bias=False)
        self.to_k = nn.Linear(context_dim, query_dim, bias=False)
        self.to_v = nn.Linear(context_dim, query_dim, bias=False)
        self.to_out = nn.Linear(query_dim, query_dim)

    def head_to_batch_dim(self, t):
        b, n, d = t.shape
        return t.reshape(b, n, self.heads, d // self.heads).permute(0, 2, 1, 3).reshape(b * self.heads, n, d // self.heads)

    def batch_to_head_dim(self, t):
        bh, n, d = t.shape
        return t.reshape(bh // self.heads, self.heads, n, d).permute(0, 2, 1, 3).reshape(bh // self.heads, n, d * self.heads)

    def forward(self, x, context):
        q, k, v = (self.head_to_batch_dim(t) for t in (self.to_q(x), self.to_k(context), self.to_v(context)))
        attention_probs = torch.baddbmm(torch.zeros(1), q, k.transpose(-1, -2), beta=0, alpha=q.shape[-1] ** -0.5).softmax(dim=-1)
        return self.to_out(self.batch_to_head_dim(torch.bmm(attention_probs, v)))


class UNet2DConditionModel(nn.Module):
    def __init__(self, channels=4, width=32, cross_attention_dim=24):
        super().__init__()
        self.width = width
        self.time_embedding = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.norm1, self.conv1 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.attn2 = nn.LayerNorm(width), CrossAttention(width, cross_attention_dim)
        self.conv_norm_out, self.conv_out = nn.GroupNorm(8, width), nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, sample, timesteps, encoder_hidden_states):
        half_dim = self.width // 2
        emb = torch.exp(-math.log(10000) * torch.arange(half_dim) / half_dim)
        emb = timesteps[:, None].float() * emb[None, :]
        emb = self.time_embedding(torch.cat([emb.cos(), emb.sin()], dim=-1))
        sample = self.conv_in(sample)
        sample = sample + self.conv1(F.silu(self.norm1(sample + emb[:, :, None, None])))
        b, c, h, w = sample.shape
        tokens = sample.permute(0, 2, 3, 1).reshape(b, h * w, c)
        tokens = tokens + self.attn2(self.norm2(tokens), encoder_hidden_states)
        sample = tokens.reshape(b, h, w, c).permute(0, 3, 1, 2)
        return self.conv_out(F.silu(self.conv_norm_out(sample)))


def build():
    return UNet2DConditionModel()


def step(model):
    noise_scheduler, noise_offset = DDPMScheduler('v_prediction'), 0.1
    latents, encoder_hidden_states = torch.randn(8, 4, 8, 8) * 0.18215, torch.randn(8, 10, 24)
    noise = torch.randn_like(latents)
    noise = noise + noise_offset * torch.randn((latents.shape[0], latents.shape[1], 1, 1))
    bsz = latents.shape[0]
    timesteps = torch.randint(0, noise_scheduler.num_train_timesteps, (bsz,)).long()
    noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
    target = noise if noise_scheduler.prediction_type == 'epsilon' else noise_scheduler.get_velocity(latents, noise, timesteps)
    model_pred = model(noisy_latents, timesteps, encoder_hidden_states)
    return F.mse_loss(model_pred.float(), target.float(), reduction='mean')


TRUTH = dict(raises=None, at=None, culprits=[])
