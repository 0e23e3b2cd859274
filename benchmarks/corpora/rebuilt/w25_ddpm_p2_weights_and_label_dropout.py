import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/denoising-diffusion-pytorch (p2 loss weights, classifier-free guidance)'
CATEGORY = 'correct'
DESCRIPTION = 'Diffusion: schedules gathered per sample and reshaped to (B,1,1,1), per-sample loss (B,) times weights (B,), labels dropped per sample with torch.where, batch equals height.'


def exists(x):
    return x is not None


def extract(a, t, x_shape):
    b, *_ = t.shape
    out = a.gather(-1, t)
    return out.reshape(b, *((1,) * (len(x_shape) - 1)))


def prob_mask_like(shape, prob):
    return torch.zeros(shape).float().uniform_(0, 1) < prob


def cosine_beta_schedule(timesteps, s=0.008):
    x = torch.linspace(0, timesteps, timesteps + 1)
    alphas_cumprod = torch.cos(((x / timesteps) + s) / (1 + s) * math.pi * 0.5) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    return torch.clip(1 - (alphas_cumprod[1:] / alphas_cumprod[:-1]), 0, 0.999)


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        half_dim = self.dim // 2
        emb = torch.exp(torch.arange(half_dim) * -(math.log(10000) / (half_dim - 1)))
        emb = x[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)


class ResnetBlock(nn.Module):
    def __init__(self, dim, dim_out, emb_dim):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(emb_dim, dim_out * 2))
        self.proj1, self.norm, self.proj2 = nn.Conv2d(dim, dim_out, 3, padding=1), nn.GroupNorm(4, dim_out), nn.Conv2d(dim_out, dim_out, 3, padding=1)
        self.res_conv = nn.Conv2d(dim, dim_out, 1) if dim != dim_out else nn.Identity()

    def forward(self, x, emb):
        scale, shift = self.mlp(emb)[..., None, None].chunk(2, dim=1)
        h = F.silu(self.norm(self.proj1(x)) * (scale + 1) + shift)
        return self.proj2(h) + self.res_conv(x)


class Unet(nn.Module):
    def __init__(self, dim=16, num_classes=5, cond_drop_prob=0.5, channels=3):
        super().__init__()
        self.cond_drop_prob = cond_drop_prob
        self.classes_emb = nn.Embedding(num_classes, dim)
        self.null_classes_emb = nn.Parameter(torch.randn(dim))
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.init_conv = nn.Conv2d(channels, dim, 7, padding=3)
        self.blocks = nn.ModuleList([ResnetBlock(dim, dim * 2, dim * 2), ResnetBlock(dim * 2, dim, dim * 2)])
        self.final_conv = nn.Conv2d(dim, channels, 1)

    def forward(self, x, time, classes):
        batch = x.shape[0]
        classes_emb = self.classes_emb(classes)
        if self.cond_drop_prob > 0:
            keep_mask = prob_mask_like((batch,), 1 - self.cond_drop_prob)
            null_classes_emb = self.null_classes_emb.expand(batch, -1)
            classes_emb = torch.where(keep_mask[:, None], classes_emb, null_classes_emb)
        emb = torch.cat((self.time_mlp(time), classes_emb), dim=-1)
        x = self.init_conv(x)
        for block in self.blocks:
            x = block(x, emb)
        return self.final_conv(x)


class GaussianDiffusion(nn.Module):
    def __init__(self, model, timesteps=50, p2_loss_weight_gamma=1., p2_loss_weight_k=1):
        super().__init__()
        self.model, self.num_timesteps = model, timesteps
        alphas_cumprod = torch.cumprod(1. - cosine_beta_schedule(timesteps), dim=0)
        self.register_buffer('sqrt_alphas_cumprod', torch.sqrt(alphas_cumprod))
        self.register_buffer('sqrt_one_minus_alphas_cumprod', torch.sqrt(1. - alphas_cumprod))
        self.register_buffer('p2_loss_weight', (p2_loss_weight_k + alphas_cumprod / (1 - alphas_cumprod)) ** -p2_loss_weight_gamma)

    def q_sample(self, x_start, t, noise):
        return (extract(self.sqrt_alphas_cumprod, t, x_start.shape) * x_start +
                extract(self.sqrt_one_minus_alphas_cumprod, t, x_start.shape) * noise)

    def forward(self, img, classes, noise=None):
        img = img * 2 - 1
        t = torch.randint(0, self.num_timesteps, (img.shape[0],)).long()
        noise = noise if exists(noise) else torch.randn_like(img)
        model_out = self.model(self.q_sample(img, t, noise), t, classes)
        loss = F.mse_loss(model_out, noise, reduction='none')
        loss = loss.flatten(1).mean(dim=1)
        loss = loss * extract(self.p2_loss_weight, t, loss.shape)
        return loss.mean()


def build():
    return GaussianDiffusion(Unet())


def step(model):
    return model(torch.rand(8, 3, 8, 8), torch.randint(0, 5, (8,)))


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
