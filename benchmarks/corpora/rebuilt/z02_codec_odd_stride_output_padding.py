import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AudiogenAI/agc/pull/4'
CATEGORY = 'loss'
DESCRIPTION = 'Audio codec: the transposed convolution of the decoder block with the odd stride 5 gives 5 L - 1 samples: the reconstruction is 8 samples short.'


class Snake1d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x):
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


class ResidualUnit(nn.Module):
    def __init__(self, dim: int = 16, dilation: int = 1):
        super().__init__()
        pad = ((7 - 1) * dilation) // 2
        self.block = nn.Sequential(
            Snake1d(dim),
            nn.Conv1d(dim, dim, kernel_size=7, dilation=dilation, padding=pad),
            Snake1d(dim),
            nn.Conv1d(dim, dim, kernel_size=1),
        )

    def forward(self, x):
        y = self.block(x)
        pad = (x.shape[-1] - y.shape[-1]) // 2
        if pad > 0:
            x = x[..., pad:-pad]
        return x + y


class EncoderBlock(nn.Module):
    def __init__(self, dim: int = 16, stride: int = 1):
        super().__init__()
        self.block = nn.Sequential(
            ResidualUnit(dim // 2, dilation=1),
            ResidualUnit(dim // 2, dilation=3),
            Snake1d(dim // 2),
            nn.Conv1d(dim // 2, dim, kernel_size=2 * stride, stride=stride, padding=math.ceil(stride / 2)),
        )

    def forward(self, x):
        return self.block(x)


class Encoder(nn.Module):
    def __init__(self, d_model: int = 8, strides: list = [2, 4, 5], d_latent: int = 16):
        super().__init__()
        block = [nn.Conv1d(2, d_model, kernel_size=7, padding=3)]
        for stride in strides:
            d_model *= 2
            block += [EncoderBlock(d_model, stride=stride)]
        block += [Snake1d(d_model), nn.Conv1d(d_model, d_latent, kernel_size=3, padding=1)]
        self.block = nn.Sequential(*block)

    def forward(self, x):
        return self.block(x)


class DecoderBlock(nn.Module):
    def __init__(self, input_dim: int = 16, output_dim: int = 8, stride: int = 1):
        super().__init__()
        self.block = nn.Sequential(
            Snake1d(input_dim),
            nn.ConvTranspose1d(input_dim, output_dim, kernel_size=2 * stride, stride=stride, padding=math.ceil(stride / 2)),
            ResidualUnit(output_dim, dilation=1),
            ResidualUnit(output_dim, dilation=3),
        )

    def forward(self, x):
        return self.block(x)


class Decoder(nn.Module):
    def __init__(self, input_channel, channels, rates, d_out: int = 2):
        super().__init__()
        layers = [nn.Conv1d(input_channel, channels, kernel_size=7, padding=3)]
        for i, stride in enumerate(rates):
            input_dim = channels // 2**i
            output_dim = channels // 2 ** (i + 1)
            layers += [DecoderBlock(input_dim, output_dim, stride)]
        layers += [Snake1d(output_dim), nn.Conv1d(output_dim, d_out, kernel_size=7, padding=3), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class AGC(nn.Module):
    def __init__(self, encoder_rates=(2, 4, 5), latent_dim=8, decoder_dim=32):
        super().__init__()
        self.encoder = Encoder(8, list(encoder_rates), 2 * latent_dim)
        self.decoder = Decoder(latent_dim, decoder_dim, list(encoder_rates)[::-1])

    def encode(self, audio):
        mean, scale = self.encoder(audio).chunk(2, dim=1)
        stdev = F.softplus(scale) + 1e-4
        kl = (mean * mean + stdev * stdev - 2 * torch.log(stdev) - 1).sum(1).mean()
        return torch.randn_like(mean) * stdev + mean, kl

    def decode(self, z):
        return self.decoder(z)


def build():
    torch.manual_seed(0)
    return AGC()


def step(agc):
    torch.manual_seed(1)
    audio = torch.rand(2, 2, 1600) * 2 - 1
    z, kl = agc.encode(audio)
    reconstructed_audio = agc.decode(z)
    return F.l1_loss(reconstructed_audio, audio) + 1e-4 * kl


# real fix: output_padding=stride % 2 in the transposed convolution of DecoderBlock
# offending tensor: reconstructed_audio (2, 2, 1592); 40 -> 199 in the block of stride 5
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['decoder.model.1.block.1'], dim=2, got=1592, wanted=1600,
             hint_any=['output_padding', 'stride', 'padding', '199'])
MENDED = [('stride=stride, padding=math.ceil(stride / 2)),\n            ResidualUnit(output_dim, dilation=1)',
           'stride=stride, padding=math.ceil(stride / 2), output_padding=stride % 2),\n            ResidualUnit(output_dim, dilation=1)')]
