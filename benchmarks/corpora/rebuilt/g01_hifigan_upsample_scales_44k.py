import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kan-bayashi/ParallelWaveGAN/issues/376'
CATEGORY = 'loss'
DESCRIPTION = 'HiFi-GAN vocoder at 44.1 kHz: hop_size 40 in the feature config, but the generator still upsamples by 4*4*3 = 48; the mel loss compares spectrograms of two lengths.'

config = dict(
    sampling_rate=44100, fft_size=128, hop_size=40, win_length=128, num_mels=20,
    batch_size=4, batch_max_steps=1600,
    generator_params=dict(in_channels=20, out_channels=1, channels=32, kernel_size=7,
                          upsample_scales=(4, 4, 3), upsample_kernel_sizes=(8, 8, 7), resblock_kernel_sizes=(3, 5)),
    lambda_aux=45.0,
)


class ResidualBlock(nn.Module):
    def __init__(self, channels, kernel_size, dilations=(1, 3)):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, kernel_size, padding=(kernel_size - 1) // 2 * d, dilation=d) for d in dilations)

    def forward(self, x):
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, 0.1))
        return x


class HiFiGANGenerator(nn.Module):
    def __init__(self, in_channels, out_channels, channels, kernel_size, upsample_scales, upsample_kernel_sizes, resblock_kernel_sizes):
        super().__init__()
        self.num_blocks = len(resblock_kernel_sizes)
        self.input_conv = nn.Conv1d(in_channels, channels, kernel_size, padding=(kernel_size - 1) // 2)
        self.upsamples = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for i, (scale, k) in enumerate(zip(upsample_scales, upsample_kernel_sizes)):
            ch = channels // 2 ** i
            self.upsamples.append(nn.ConvTranspose1d(ch, ch // 2, k, scale, padding=(k - scale) // 2))
            for rk in resblock_kernel_sizes:
                self.blocks.append(ResidualBlock(ch // 2, rk))
        self.output_conv = nn.Conv1d(channels // 2 ** len(upsample_scales), out_channels, kernel_size, padding=(kernel_size - 1) // 2)

    def forward(self, c):
        c = self.input_conv(c)
        for i, up in enumerate(self.upsamples):
            c = up(F.leaky_relu(c, 0.1))
            cs = 0.
            for j in range(self.num_blocks):
                cs = cs + self.blocks[i * self.num_blocks + j](c)
            c = cs / self.num_blocks
        return torch.tanh(self.output_conv(F.leaky_relu(c)))


class MelSpectrogramLoss(nn.Module):
    def __init__(self, fft_size, hop_size, win_length, num_mels):
        super().__init__()
        self.fft_size, self.hop_size, self.win_length = fft_size, hop_size, win_length
        self.register_buffer('window', torch.hann_window(win_length))
        self.register_buffer('melmat', torch.rand(fft_size // 2 + 1, num_mels))

    def mel(self, x):
        spec = torch.stft(x.squeeze(1), self.fft_size, self.hop_size, self.win_length, self.window, return_complex=True).abs()
        return torch.log10(torch.clamp(spec.transpose(1, 2) @ self.melmat, min=1e-10)).transpose(1, 2)

    def forward(self, y_hat, y):
        return F.l1_loss(self.mel(y_hat), self.mel(y))


class Vocoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.generator = HiFiGANGenerator(**config['generator_params'])
        self.mel_criterion = MelSpectrogramLoss(config['fft_size'], config['hop_size'], config['win_length'], config['num_mels'])


def collate(config):
    frames = config['batch_max_steps'] // config['hop_size']
    y = torch.randn(config['batch_size'], 1, frames * config['hop_size']).clamp(-1, 1)
    c = torch.randn(config['batch_size'], config['num_mels'], frames)
    return c, y


def build():
    return Vocoder(config)


def step(model):
    x, y = collate(model.config)
    y_ = model.generator(x)
    return model.config['lambda_aux'] * model.mel_criterion(y_, y)


# real fix: the product of upsample_scales has to be the hop size (the maintainer: prod(upsample_scales) == hop_size)
# 40 frames * 48 = 1920 samples against 1600: 49 against 41 frames
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss',
             culprits=['generator.upsamples.0', 'generator.upsamples.1', 'generator.upsamples.2', 'generator.upsamples', 'generator'],
             dim=2, got=49, wanted=41, hint_any=['hop', 'upsampl', 'stride', 'scale', '1600', '1920'])
MENDED = [('upsample_scales=(4, 4, 3), upsample_kernel_sizes=(8, 8, 7)', 'upsample_scales=(4, 5, 2), upsample_kernel_sizes=(8, 9, 4)')]
