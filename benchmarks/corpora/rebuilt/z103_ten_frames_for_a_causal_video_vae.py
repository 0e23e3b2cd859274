import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/PKU-YuanGroup/WF-VAE/issues/3'
CATEGORY = 'layer'
DESCRIPTION = ('Causal video autoencoder that halves the time twice and keeps the first frame apart: num_frames has to be 4n+1; of 10 '
               'frames 9 are reconstructed.')


class CausalConv3d(nn.Module):
    def __init__(self, cin, cout, kernel_size=3, stride=(1, 1, 1)):
        super().__init__()
        self.time_kernel = kernel_size
        pad = (0, kernel_size // 2, kernel_size // 2)
        self.conv = nn.Conv3d(cin, cout, kernel_size, stride, pad)

    def forward(self, x):
        first = x[:, :, :1].repeat(1, 1, self.time_kernel - 1, 1, 1)
        return self.conv(torch.cat([first, x], dim=2))


class TimeDownsample2x(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = CausalConv3d(channels, channels, 3, stride=(2, 1, 1))

    def forward(self, x):
        return self.conv(x)


class TimeUpsample2x(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = CausalConv3d(channels, channels, 3)

    def forward(self, x):
        if x.size(2) > 1:
            first, rest = x[:, :, :1], x[:, :, 1:]
            rest = F.interpolate(rest, scale_factor=(2, 1, 1), mode='trilinear', align_corners=False)
            x = torch.cat([first, rest], dim=2)
        return self.conv(x)


class ResBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.conv = CausalConv3d(channels, channels)

    def forward(self, x):
        return x + self.conv(F.silu(self.norm(x)))


class WFVAEModel(nn.Module):
    def __init__(self, base=8, latent_dim=4):
        super().__init__()
        self.encoder = nn.Sequential(CausalConv3d(3, base), ResBlock(base), TimeDownsample2x(base),
                                     nn.Conv3d(base, base, (1, 2, 2), (1, 2, 2)), ResBlock(base), TimeDownsample2x(base),
                                     nn.Conv3d(base, 2 * latent_dim, (1, 2, 2), (1, 2, 2)))
        self.decoder = nn.Sequential(CausalConv3d(latent_dim, base), ResBlock(base), TimeUpsample2x(base),
                                     nn.ConvTranspose3d(base, base, (1, 2, 2), (1, 2, 2)), ResBlock(base), TimeUpsample2x(base),
                                     nn.ConvTranspose3d(base, 3, (1, 2, 2), (1, 2, 2)))

    def forward(self, x):
        mean, logvar = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * logvar.clamp(-30, 20)) * torch.randn_like(mean)
        return self.decoder(z), mean, logvar


class ReconLoss(nn.Module):
    def __init__(self, kl_weight=1e-6):
        super().__init__()
        self.kl_weight = kl_weight
        self.logvar = nn.Parameter(torch.zeros(()))

    def forward(self, inputs, reconstructions, mean, logvar):
        rec_loss = torch.abs(inputs - reconstructions)
        nll_loss = rec_loss / torch.exp(self.logvar) + self.logvar
        kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).sum() / mean.size(0)
        return nll_loss.mean() + self.kl_weight * kl


class TrainVideoDataset(torch.utils.data.Dataset):
    def __init__(self, num_frames, resolution, sample_rate=1):
        self.num_frames, self.resolution, self.sample_rate = num_frames, resolution, sample_rate

    def __len__(self):
        return 4

    def __getitem__(self, i):
        video = torch.rand(3, 40, self.resolution, self.resolution)
        return 2 * video[:, :self.num_frames * self.sample_rate:self.sample_rate] - 1


class Trainer(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.disc = WFVAEModel(), ReconLoss()


def build():
    return Trainer()


def step(trainer, num_frames=10, resolution=16, batch_size=2):
    inputs = next(iter(torch.utils.data.DataLoader(TrainVideoDataset(num_frames, resolution), batch_size=batch_size)))
    recon, mean, logvar = trainer.model(inputs)
    return trainer.disc(inputs, recon, mean, logvar)


# "approach 4*n+1 works": 13, 17, 21 ...
TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['input'], dim=2, got=10, wanted=9,
             hint_any=['input', 'frames', 'time', '9', '4n'])
MENDED = [('num_frames=10', 'num_frames=13')]
