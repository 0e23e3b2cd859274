import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lmnt-com/diffwave/issues/24'
CATEGORY = 'layer'
DESCRIPTION = 'hop_samples is changed in the parameters; the upsampler of the spectrogram stretches each frame 16 * 16 times whatever the parameters say.'


class AttrDict(dict):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.__dict__ = self

    def override(self, attrs):
        self.update(attrs)
        return self


base_params = AttrDict(batch_size=3, sample_rate=22050, n_mels=20, hop_samples=256, crop_mel_frames=10, residual_layers=4, residual_channels=16,
                       dilation_cycle_length=2, noise_steps=50)


class DiffusionEmbedding(nn.Module):
    def __init__(self, max_steps):
        super().__init__()
        table = torch.arange(max_steps).unsqueeze(1) * 10.0 ** (torch.arange(16) * 4.0 / 15).unsqueeze(0)
        self.register_buffer('embedding', torch.cat([torch.sin(table), torch.cos(table)], dim=1), persistent=False)
        self.projection1, self.projection2 = nn.Linear(32, 64), nn.Linear(64, 64)

    def forward(self, diffusion_step):
        return F.silu(self.projection2(F.silu(self.projection1(self.embedding[diffusion_step]))))


class SpectrogramUpsampler(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(1, 1, [3, 32], stride=[1, 16], padding=[1, 8])
        self.conv2 = nn.ConvTranspose2d(1, 1, (3, 32), stride=(1, 16), padding=(1, 8))

    def forward(self, x):
        x = torch.unsqueeze(x, 1)
        x = F.leaky_relu(self.conv1(x), 0.4)
        x = F.leaky_relu(self.conv2(x), 0.4)
        return torch.squeeze(x, 1)


class ResidualBlock(nn.Module):
    def __init__(self, n_mels, residual_channels, dilation):
        super().__init__()
        self.dilated_conv = nn.Conv1d(residual_channels, 2 * residual_channels, 3, padding=dilation, dilation=dilation)
        self.diffusion_projection = nn.Linear(64, residual_channels)
        self.conditioner_projection = nn.Conv1d(n_mels, 2 * residual_channels, 1)
        self.output_projection = nn.Conv1d(residual_channels, 2 * residual_channels, 1)

    def forward(self, x, diffusion_step, conditioner):
        y = x + self.diffusion_projection(diffusion_step).unsqueeze(-1)
        conditioner = self.conditioner_projection(conditioner)
        y = self.dilated_conv(y) + conditioner
        gate, filter = torch.chunk(y, 2, dim=1)
        y = self.output_projection(torch.sigmoid(gate) * torch.tanh(filter))
        residual, skip = torch.chunk(y, 2, dim=1)
        return (x + residual) / math.sqrt(2.0), skip


class DiffWave(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.params = params
        self.input_projection = nn.Conv1d(1, params.residual_channels, 1)
        self.diffusion_embedding = DiffusionEmbedding(params.noise_steps)
        self.spectrogram_upsampler = SpectrogramUpsampler()
        self.residual_layers = nn.ModuleList(ResidualBlock(params.n_mels, params.residual_channels, 2 ** (i % params.dilation_cycle_length))
                                             for i in range(params.residual_layers))
        self.skip_projection = nn.Conv1d(params.residual_channels, params.residual_channels, 1)
        self.output_projection = nn.Conv1d(params.residual_channels, 1, 1)

    def forward(self, audio, diffusion_step, spectrogram):
        x = F.relu(self.input_projection(audio.unsqueeze(1)))
        diffusion_step = self.diffusion_embedding(diffusion_step)
        spectrogram = self.spectrogram_upsampler(spectrogram)
        skip = 0
        for layer in self.residual_layers:
            x, skip_connection = layer(x, diffusion_step, spectrogram)
            skip = skip_connection + skip
        x = F.relu(self.skip_projection(skip / math.sqrt(len(self.residual_layers))))
        return self.output_projection(x)


class Collator:
    def __init__(self, params):
        self.params = params

    def collate(self, minibatch):
        audio, mels = [], []
        for record in minibatch:
            start = int(torch.randint(0, record['spectrogram'].shape[0] - self.params.crop_mel_frames, (1,)))
            end = start + self.params.crop_mel_frames
            mels.append(record['spectrogram'][start:end].T)
            audio.append(record['audio'][start * self.params.hop_samples:end * self.params.hop_samples])
        return torch.stack(audio), torch.stack(mels)


def build():
    return DiffWave(AttrDict(base_params).override(dict(sample_rate=24000, hop_samples=240)))


def step(model):
    params = model.params
    records = [dict(audio=torch.rand(30 * params.hop_samples) * 2 - 1, spectrogram=torch.rand(30, params.n_mels)) for _ in range(params.batch_size)]
    audio, spectrogram = Collator(params).collate(records)
    noise_level = torch.cumprod(1 - torch.linspace(1e-4, 0.05, params.noise_steps), 0)
    t = torch.randint(0, params.noise_steps, [audio.shape[0]])
    noise_scale = noise_level[t].unsqueeze(1)
    noise = torch.randn_like(audio)
    predicted = model(noise_scale ** 0.5 * audio + (1.0 - noise_scale) ** 0.5 * noise, t, spectrogram)
    return nn.L1Loss()(noise, predicted.squeeze(1))


# real fix: strides (and kernels) of the two transposed convolutions whose product is hop_samples
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['spectrogram_upsampler.conv1', 'spectrogram_upsampler.conv2'], dim=2, got=2560, wanted=2400,
             hint_any=['stride', '240', '2400', 'upsampl'])
MENDED = [('(3, 32), stride=(1, 16), padding=(1, 8)', '(3, 31), stride=(1, 15), padding=(1, 8)')]
