import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146'
CATEGORY = 'silent'
DESCRIPTION = 'UNet attention: scores bijh (i queries, j keys) are softmaxed over dim 1, the queries; the two sizes are both H*W.'


class TimeEmbedding(nn.Module):
    def __init__(self, n_channels):
        super().__init__()
        self.n_channels = n_channels
        self.lin1 = nn.Linear(n_channels // 4, n_channels)
        self.lin2 = nn.Linear(n_channels, n_channels)

    def forward(self, t):
        half_dim = self.n_channels // 8
        emb = torch.exp(torch.arange(half_dim) * -(math.log(10_000) / (half_dim - 1)))
        emb = t[:, None] * emb[None, :]
        emb = torch.cat((emb.sin(), emb.cos()), dim=1)
        return self.lin2(F.silu(self.lin1(emb)))


class ResidualBlock(nn.Module):
    def __init__(self, in_channels, out_channels, time_channels):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(4, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.time_emb = nn.Linear(time_channels, out_channels)

    def forward(self, x, t):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb(F.silu(t))[:, :, None, None]
        return self.conv2(F.silu(self.norm2(h))) + self.shortcut(x)


class AttentionBlock(nn.Module):
    def __init__(self, n_channels, n_heads=2, d_k=8, n_groups=4):
        super().__init__()
        self.norm = nn.GroupNorm(n_groups, n_channels)
        self.projection = nn.Linear(n_channels, n_heads * d_k * 3)
        self.output = nn.Linear(n_heads * d_k, n_channels)
        self.scale = d_k ** -0.5
        self.n_heads, self.d_k = n_heads, d_k

    def forward(self, x, t=None):
        batch_size, n_channels, height, width = x.shape
        x = x.view(batch_size, n_channels, -1)
        h = self.norm(x).permute(0, 2, 1)
        x = x.permute(0, 2, 1)
        qkv = self.projection(h).view(batch_size, -1, self.n_heads, 3 * self.d_k)
        q, k, v = torch.chunk(qkv, 3, dim=-1)
        attn = torch.einsum('bihd,bjhd->bijh', q, k) * self.scale
        attn = attn.softmax(dim=1)
        res = torch.einsum('bijh,bjhd->bihd', attn, v)
        res = self.output(res.reshape(batch_size, -1, self.n_heads * self.d_k)) + x
        return res.permute(0, 2, 1).view(batch_size, n_channels, height, width)


class UNet(nn.Module):
    def __init__(self, image_channels=3, n_channels=16):
        super().__init__()
        self.image_proj = nn.Conv2d(image_channels, n_channels, 3, padding=1)
        self.time_emb = TimeEmbedding(n_channels * 4)
        self.down = ResidualBlock(n_channels, n_channels * 2, n_channels * 4)
        self.downsample = nn.Conv2d(n_channels * 2, n_channels * 2, 3, 2, 1)
        self.attn = AttentionBlock(n_channels * 2)
        self.upsample = nn.ConvTranspose2d(n_channels * 2, n_channels * 2, 4, 2, 1)
        self.up = ResidualBlock(n_channels * 3, n_channels, n_channels * 4)
        self.final = nn.Conv2d(n_channels, image_channels, 3, padding=1)

    def forward(self, x, t):
        t = self.time_emb(t)
        x = self.image_proj(x)
        h = self.attn(self.downsample(self.down(x, t)))
        return self.final(self.up(torch.cat((self.upsample(h), x), dim=1), t))


class DenoiseDiffusion:
    def __init__(self, eps_model, n_steps=100):
        self.eps_model, self.n_steps = eps_model, n_steps
        self.alpha_bar = torch.cumprod(1. - torch.linspace(0.0001, 0.02, n_steps), dim=0)

    def loss(self, x0):
        t = torch.randint(0, self.n_steps, (x0.shape[0],))
        noise = torch.randn_like(x0)
        alpha_bar = self.alpha_bar.gather(-1, t).reshape(-1, 1, 1, 1)
        xt = alpha_bar ** 0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise
        return F.mse_loss(noise, self.eps_model(xt, t))


def build():
    return UNet()


def step(model):
    return DenoiseDiffusion(model).loss(torch.randn(4, 3, 16, 16))


# real fix: attn.softmax(dim=2)
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax', 'attn'], dim=1, got=64, wanted=None,
             hint_any=['dim=2', 'key', 'queries', 'dim 2', 'summed'])
MENDED = [('attn.softmax(dim=1)', 'attn.softmax(dim=2)')]
