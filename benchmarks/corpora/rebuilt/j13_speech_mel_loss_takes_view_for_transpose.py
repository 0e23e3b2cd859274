import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/seorim0/DCCRN-with-various-loss-functions/issues/7'
CATEGORY = 'silent'
DESCRIPTION = 'Perceptual loss for speech enhancement: the power spectrum (batch, frequency, time) is brought to (-1, frequency) with view, so the mel filters are applied to time steps.'

FFT_SIZE, HOP, MEL_SCALES = 64, 16, [8, 16]


def freqToMel(freq):
    return 1127.01048 * math.log(1 + freq / 700.0)


def melToFreq(mel):
    return 700 * (math.exp(mel / 1127.01048) - 1)


def melFilterBank(numCoeffs, fftSize, maxHz=8000):
    numFFTBins = fftSize // 2 + 1
    centers = [melToFreq(freqToMel(maxHz) * i / (numCoeffs + 1)) for i in range(numCoeffs + 2)]
    centers = torch.tensor(centers) / maxHz * (numFFTBins - 1)
    bins = torch.arange(numFFTBins)[:, None]
    rise = (bins - centers[:-2]) / (centers[1:-1] - centers[:-2])
    fall = (centers[2:] - bins) / (centers[2:] - centers[1:-1])
    return torch.minimum(rise, fall).clamp(min=0)


class ConvSTFT(nn.Module):
    def __init__(self):
        super().__init__()
        basis = torch.fft.rfft(torch.eye(FFT_SIZE)) * torch.hann_window(FFT_SIZE)[:, None]
        self.register_buffer('weight', torch.cat([basis.real, basis.imag], dim=1).t().unsqueeze(1).contiguous())

    def forward(self, wav):
        wav = F.pad(wav.unsqueeze(1), (FFT_SIZE // 2, FFT_SIZE // 2))
        real, imag = F.conv1d(wav, self.weight, stride=HOP).chunk(2, dim=1)
        return torch.sqrt(real ** 2 + imag ** 2 + 1e-8)


def perceptual_transform(x):
    transforms = []
    powerSpectrum = x.view(-1, FFT_SIZE // 2 + 1)
    powerSpectrum = 1.0 / FFT_SIZE * powerSpectrum
    for scale in MEL_SCALES:
        filteredSpectrum = torch.mm(powerSpectrum, melFilterBank(scale, FFT_SIZE))
        filteredSpectrum = torch.log(filteredSpectrum + 1e-7)
        transforms.append(filteredSpectrum)
    return transforms


class rmse(nn.Module):
    def forward(self, y_true, y_pred):
        mse = torch.mean((y_pred - y_true) ** 2, axis=-1)
        return torch.mean(torch.sqrt(mse + 1e-7))


class perceptual_distance(nn.Module):
    def __init__(self):
        super().__init__()
        self.rmse_loss = rmse()

    def forward(self, y_true, y_pred):
        pvec_true = perceptual_transform(y_true)
        pvec_pred = perceptual_transform(y_pred)
        distances = [self.rmse_loss(pred, true).unsqueeze(-1) for pred, true in zip(pvec_pred, pvec_true)]
        return torch.mean(torch.cat(distances, axis=-1))


class MaskNet(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        bins = FFT_SIZE // 2 + 1
        self.stft = ConvSTFT()
        self.encoder = nn.Sequential(nn.Conv1d(bins, hidden, 3, padding=1), nn.BatchNorm1d(hidden), nn.PReLU())
        self.enhance = nn.LSTM(hidden, hidden, batch_first=True)
        self.mask = nn.Conv1d(hidden, bins, 1)

    def forward(self, noisy):
        mags = self.stft(noisy)
        h = self.encoder(mags)
        h, _ = self.enhance(h.transpose(1, 2))
        mask = torch.sigmoid(self.mask(h.transpose(1, 2)))
        return mask * mags


get_mel_loss = perceptual_distance()


def build():
    return MaskNet()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    clean = torch.randn(3, 512)
    est_mags = model(clean + 0.3 * torch.randn(3, 512))
    clean_mags = model.stft(clean)
    loss = get_mel_loss(clean_mags ** 2, est_mags ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# 33 frequencies and 33 frames
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['transpose', 'permute', 'view', 'time', 'order'])
MENDED = [('x.view(-1, FFT_SIZE // 2 + 1)', 'x.transpose(1, 2).reshape(-1, FFT_SIZE // 2 + 1)')]
