import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146'
CATEGORY = 'silent'
DESCRIPTION = 'DDPM U-Net attention: the scores are (b, i, j, h) and the softmax runs over i, the queries, instead of over the keys j.'


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class TimeEmbedding(nn.Module):
    def __init__(self, n_channels):
        super().__init__()
        self.n_channels = n_channels
        self.lin1 = nn.Linear(n_channels // 4, n_channels)
        self.act = Swish()
        self.lin2 = nn.Linear(n_channels, n_channels)

    def forward(self, t):
        half_dim = self.n_channels // 8
        emb = math.log(10_000) / (half_dim - 1)
        emb = torch.exp(torch.arange(half_dim) * -emb)
        emb = t[:, None] * emb[None, :]
        emb = torch.cat((emb.sin(), emb.cos()), dim=1)
        return self.lin2(self.act(self.lin1(emb)))


class ResidualBlock(nn.Module):
    def __init__(self, in_channels, out_channels, time_channels, n_groups=8):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(n_groups, in_channels), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(n_groups, out_channels), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.time_emb = nn.Linear(time_channels, out_channels)
        self.act = Swish()

    def forward(self, x, t):
        h = self.conv1(self.act(self.norm1(x)))
        h = h + self.time_emb(self.act(t))[:, :, None, None]
        return self.conv2(self.act(self.norm2(h))) + self.shortcut(x)


class AttentionBlock(nn.Module):
    def __init__(self, n_channels, n_heads=4, d_k=8, n_groups=8):
        super().__init__()
        self.norm = nn.GroupNorm(n_groups, n_channels)
        self.projection = nn.Linear(n_channels, n_heads * d_k * 3)
        self.output = nn.Linear(n_heads * d_k, n_channels)
        self.scale = d_k ** -0.5
        self.n_heads, self.d_k = n_heads, d_k
        nn.init.orthogonal_(self.projection.weight, gain=2.)

    def forward(self, x, t=None):
        batch_size, n_channels, height, width = x.shape
        x = x.view(batch_size, n_channels, -1)
        normed = self.norm(x).permute(0, 2, 1)
        x = x.permute(0, 2, 1)
        qkv = self.projection(normed).view(batch_size, -1, self.n_heads, 3 * self.d_k)
        q, k, v = torch.chunk(qkv, 3, dim=-1)
        attn = torch.einsum('bihd,bjhd->bijh', q, k) * self.scale
        attn = attn.softmax(dim=1)
        res = torch.einsum('bijh,bjhd->bihd', attn, v)
        res = res.reshape(batch_size, -1, self.n_heads * self.d_k)
        res = self.output(res) + x
        return res.permute(0, 2, 1).view(batch_size, n_channels, height, width)


class UNet(nn.Module):
    def __init__(self, image_channels=3, ch=16):
        super().__init__()
        self.time_emb = TimeEmbedding(ch * 4)
        self.image_proj = nn.Conv2d(image_channels, ch, 3, padding=1)
        self.down = nn.ModuleList([ResidualBlock(ch, ch, ch * 4), nn.Conv2d(ch, ch * 2, 3, 2, 1), ResidualBlock(ch * 2, ch * 2, ch * 4)])
        self.middle_attn = AttentionBlock(ch * 2)
        self.down_attn, self.last_attn = AttentionBlock(ch), AttentionBlock(ch)
        self.up = nn.ConvTranspose2d(ch * 2, ch, 4, 2, 1)
        self.last = ResidualBlock(ch * 2, ch, ch * 4)
        self.final = nn.Conv2d(ch, image_channels, 3, padding=1)

    def forward(self, x, t):
        t = self.time_emb(t)
        skip = self.down_attn(self.down[0](self.image_proj(x), t))
        x = self.middle_attn(self.down[2](self.down[1](skip), t))
        return self.final(self.last_attn(self.last(torch.cat((self.up(x), skip), dim=1), t)))


class DenoiseDiffusion(nn.Module):
    def __init__(self, eps_model, n_steps=100):
        super().__init__()
        self.eps_model, self.n_steps = eps_model, n_steps
        self.register_buffer('alpha_bar', torch.cumprod(1. - torch.linspace(0.0001, 0.02, n_steps), dim=0))

    def loss(self, x0):
        t = torch.randint(0, self.n_steps, (x0.shape[0],))
        noise = torch.randn_like(x0)
        a = self.alpha_bar.gather(-1, t).reshape(-1, 1, 1, 1)
        return F.mse_loss(noise, self.eps_model(a ** 0.5 * x0 + (1 - a) ** 0.5 * noise, t))


def build():
    return DenoiseDiffusion(UNet())


def step(model):
    return model.loss(torch.rand(4, 3, 8, 8) * 2 - 1)


# real fix: attn.softmax(dim=2)
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax'], dim=1, got=None, wanted=None,
             hint_any=['dim=2', 'key', 'quer', 'dim 2'])
MENDED = [('attn.softmax(dim=1)', 'attn.softmax(dim=2)')]
