import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ehoogeboom/multinomial_diffusion/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Multinomial diffusion of segmentation maps: the noisy classes are embedded pixel by pixel and denoised by a small U-Net.'


class SegmentationUnet(nn.Module):
    def __init__(self, num_classes=8, channels=1, dim=16, num_steps=20):
        super().__init__()
        self.num_classes, self.channels, self.dim = num_classes, channels, dim
        self.embedding = nn.Embedding(num_classes, dim)
        self.time_mlp = nn.Sequential(nn.Embedding(num_steps, dim), nn.Linear(dim, dim), nn.SiLU())
        self.conv_in = nn.Conv2d(channels * dim, 32, 3, padding=1)
        self.time_proj = nn.Linear(dim, 32)
        self.down = nn.Conv2d(32, 64, 4, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.final_conv = nn.Sequential(nn.Conv2d(64, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, num_classes * channels, 1))

    def forward(self, time, x):
        B, C, H, W = x.size()
        x = self.embedding(x)
        assert x.shape == (B, C, H, W, self.dim)
        x = x.permute(0, 1, 3, 2, 4)
        x = x.reshape(B, C * self.dim, H, W)

        t = self.time_proj(self.time_mlp(time))
        skip = F.silu(self.conv_in(x) + t[:, :, None, None])
        h = F.silu(self.down(skip))
        h = F.silu(self.up(h))
        out = self.final_conv(torch.cat([h, skip], dim=1))
        return out.view(B, self.num_classes, C, H, W)


def q_sample(x_start, t, num_classes, num_steps):
    keep = 1. - (t.float() + 1) / num_steps
    noise = torch.randint_like(x_start, num_classes)
    choose = torch.rand(x_start.shape) < keep[:, None, None, None]
    return torch.where(choose, x_start, noise)


def multinomial_loss(model, x_start, num_steps=20):
    t = torch.randint(0, num_steps, (x_start.size(0),))
    x_t = q_sample(x_start, t, model.num_classes, num_steps)
    logits = model(t, x_t)
    return F.cross_entropy(logits, x_start)


def build():
    return SegmentationUnet()


def street_maps(n, size):
    rows = torch.arange(size).view(1, 1, size, 1).expand(n, 1, size, size)
    sky = torch.randint(4, 9, (n, 1, 1, 1))
    maps = (rows > sky).long() * 3
    maps[:, :, -4:] = 7
    return maps


def step(model):
    return multinomial_loss(model, street_maps(6, 16))


# After the permutation the axes are B C W H dim; the reshape to (B, C * dim, H, W) mixes pixels and features.
# real fix: permute(0, 1, 4, 2, 3) before the reshape
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:permute', 'function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'mix', 'scrambl', 'order', 'interleav', 'transpose', 'movedim'])
MENDED = [('x.permute(0, 1, 3, 2, 4)', 'x.permute(0, 1, 4, 2, 3)')]
