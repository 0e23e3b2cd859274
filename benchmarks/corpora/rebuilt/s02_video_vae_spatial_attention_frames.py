import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/PKU-YuanGroup/Open-Sora-Plan/issues/171'
CATEGORY = 'silent'
DESCRIPTION = 'AttnBlock3D reshapes (b, c, t, h, w) to (b*t, c, h*w) without moving t in front of c, so frames and channels are mixed.'


class CausalConv3d(nn.Module):
    def __init__(self, chan_in, chan_out, kernel_size=3):
        super().__init__()
        self.time_pad = kernel_size - 1
        self.conv = nn.Conv3d(chan_in, chan_out, kernel_size, padding=(0, kernel_size // 2, kernel_size // 2))

    def forward(self, x):
        first = x[:, :, :1].repeat(1, 1, self.time_pad, 1, 1)
        return self.conv(torch.cat((first, x), dim=2))


class ResnetBlock3D(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm1 = nn.GroupNorm(4, channels)
        self.conv1 = CausalConv3d(channels, channels)
        self.norm2 = nn.GroupNorm(4, channels)
        self.conv2 = CausalConv3d(channels, channels)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return x + h


class AttnBlock3D(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
        self.norm = nn.GroupNorm(4, in_channels)
        self.q = nn.Conv3d(in_channels, in_channels, 1)
        self.k = nn.Conv3d(in_channels, in_channels, 1)
        self.v = nn.Conv3d(in_channels, in_channels, 1)
        self.proj_out = nn.Conv3d(in_channels, in_channels, 1)

    def forward(self, x):
        h_ = self.norm(x)
        q, k, v = self.q(h_), self.k(h_), self.v(h_)

        # spatial attention, frame by frame
        b, c, t, h, w = q.shape
        q = q.reshape(b * t, c, h * w)
        q = q.permute(0, 2, 1)
        k = k.reshape(b * t, c, h * w)
        w_ = torch.bmm(q, k)
        w_ = w_ * (int(c) ** (-0.5))
        w_ = F.softmax(w_, dim=2)

        v = v.reshape(b * t, c, h * w)
        w_ = w_.permute(0, 2, 1)
        h_ = torch.bmm(v, w_)
        h_ = h_.reshape(b, c, t, h, w)
        return x + self.proj_out(h_)


class CausalVAE(nn.Module):
    def __init__(self, hidden=8, z=4):
        super().__init__()
        self.conv_in = CausalConv3d(3, hidden)
        self.mid = nn.Sequential(ResnetBlock3D(hidden), AttnBlock3D(hidden), ResnetBlock3D(hidden))
        self.quant = nn.Conv3d(hidden, 2 * z, 1)
        self.post_quant = nn.Conv3d(z, hidden, 1)
        self.up = nn.Sequential(ResnetBlock3D(hidden), AttnBlock3D(hidden))
        self.conv_out = CausalConv3d(hidden, 3)

    def forward(self, video):
        mean, logvar = self.quant(self.mid(self.conv_in(video))).chunk(2, dim=1)
        logvar = logvar.clamp(-10, 5)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return self.conv_out(self.up(self.post_quant(z))), mean, logvar


def build():
    return CausalVAE()


def step(model):
    video = torch.rand(2, 3, 8, 6, 5)
    recon, mean, logvar = model(video)
    kl = 0.5 * torch.mean(mean ** 2 + logvar.exp() - 1 - logvar)
    loss = F.l1_loss(recon, video) + 1e-3 * kl
    loss.backward()
    return loss.detach()


# real fix: q.permute(0, 2, 1, 3, 4) before the reshape (and back after it)
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'mix', 'frame', 'order'])
MENDED = [('q = q.reshape(b * t, c, h * w)', 'q = q.permute(0, 2, 1, 3, 4).reshape(b * t, c, h * w)'),
          ('k = k.reshape(b * t, c, h * w)', 'k = k.permute(0, 2, 1, 3, 4).reshape(b * t, c, h * w)'),
          ('v = v.reshape(b * t, c, h * w)', 'v = v.permute(0, 2, 1, 3, 4).reshape(b * t, c, h * w)'),
          ('h_ = h_.reshape(b, c, t, h, w)', 'h_ = h_.reshape(b, t, c, h, w).permute(0, 2, 1, 3, 4)')]
