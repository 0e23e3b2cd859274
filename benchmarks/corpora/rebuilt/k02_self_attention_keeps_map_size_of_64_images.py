import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/dome272/Diffusion-Models-pytorch/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'Diffusion UNet on 128x128: the self-attention was built for maps of the 64x64 model, view(-1, C, size*size) turns one image into four; the time embedding fails later.'


class SelfAttention(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.channels = channels
        self.size = size
        self.mha = nn.MultiheadAttention(channels, 4, batch_first=True)
        self.ln = nn.LayerNorm([channels])
        self.ff_self = nn.Sequential(nn.LayerNorm([channels]), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, x):
        x = x.view(-1, self.channels, self.size * self.size).swapaxes(1, 2)
        x_ln = self.ln(x)
        attention_value, _ = self.mha(x_ln, x_ln, x_ln)
        attention_value = attention_value + x
        attention_value = self.ff_self(attention_value) + attention_value
        return attention_value.swapaxes(2, 1).view(-1, self.channels, self.size, self.size)


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels, mid_channels=None, residual=False):
        super().__init__()
        self.residual = residual
        mid_channels = mid_channels or out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False), nn.GroupNorm(1, mid_channels), nn.GELU(),
            nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False), nn.GroupNorm(1, out_channels))

    def forward(self, x):
        if self.residual:
            return F.gelu(x + self.double_conv(x))
        return self.double_conv(x)


class Down(nn.Module):
    def __init__(self, in_channels, out_channels, emb_dim=32):
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, in_channels, residual=True), DoubleConv(in_channels, out_channels))
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(emb_dim, out_channels))

    def forward(self, x, t):
        x = self.maxpool_conv(x)
        emb = self.emb_layer(t)[:, :, None, None].repeat(1, 1, x.shape[-2], x.shape[-1])
        return x + emb


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, emb_dim=32):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)
        self.conv = nn.Sequential(DoubleConv(in_channels, in_channels, residual=True), DoubleConv(in_channels, out_channels, in_channels // 2))
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(emb_dim, out_channels))

    def forward(self, x, skip_x, t):
        x = self.up(x)
        x = torch.cat([skip_x, x], dim=1)
        x = self.conv(x)
        emb = self.emb_layer(t)[:, :, None, None].repeat(1, 1, x.shape[-2], x.shape[-1])
        return x + emb


class UNet(nn.Module):
    def __init__(self, c_in=3, c_out=3, time_dim=32, img_size=64):
        super().__init__()
        self.time_dim = time_dim
        self.img_size = img_size
        self.inc = DoubleConv(c_in, 8)
        self.down1 = Down(8, 16)
        self.down2 = Down(16, 32)
        self.sa2 = SelfAttention(32, 16)
        self.down3 = Down(32, 32)
        self.sa3 = SelfAttention(32, 8)
        self.bot1 = DoubleConv(32, 64)
        self.bot3 = DoubleConv(64, 32)
        self.up1 = Up(64, 16)
        self.sa4 = SelfAttention(16, 16)
        self.up2 = Up(32, 8)
        self.up3 = Up(16, 8)
        self.outc = nn.Conv2d(8, c_out, kernel_size=1)

    def pos_encoding(self, t, channels):
        inv_freq = 1.0 / (10000 ** (torch.arange(0, channels, 2).float() / channels))
        args = t.repeat(1, channels // 2) * inv_freq
        return torch.cat([torch.sin(args), torch.cos(args)], dim=-1)

    def forward(self, x, t):
        t = self.pos_encoding(t.unsqueeze(-1).float(), self.time_dim)
        x1 = self.inc(x)
        x2 = self.down1(x1, t)
        x3 = self.sa2(self.down2(x2, t))
        x4 = self.sa3(self.down3(x3, t))
        x4 = self.bot3(self.bot1(x4))
        x = self.sa4(self.up1(x4, x3, t))
        x = self.up2(x, x2, t)
        x = self.up3(x, x1, t)
        return self.outc(x)


def build():
    return UNet(img_size=128)


def step(model):
    images = torch.rand(3, 3, model.img_size, model.img_size) * 2 - 1
    alpha_hat = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0)
    t = torch.randint(1, 1000, (3,))
    a = alpha_hat[t][:, None, None, None]
    noise = torch.randn_like(images)
    x_t = a.sqrt() * images + (1 - a).sqrt() * noise
    return F.mse_loss(noise, model(x_t, t))


# real fix: the sizes of the attention blocks follow the image size (img_size // 4, img_size // 8, img_size // 4)
# offending tensor: the map behind sa2, (12, 32, 16, 16) for 3 images
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:view', 'sa2'], dim=0, got=12, wanted=3,
             hint_any=['view', 'sa2', '16', '32', '-1', 'size'])
MENDED = [('SelfAttention(32, 16)', 'SelfAttention(32, img_size // 4)'), ('SelfAttention(32, 8)', 'SelfAttention(32, img_size // 8)'),
          ('SelfAttention(16, 16)', 'SelfAttention(16, img_size // 4)')]
