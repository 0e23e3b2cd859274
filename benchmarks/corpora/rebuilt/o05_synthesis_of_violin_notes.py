import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/acids-ircam/ddsp_pytorch/issues/37'
CATEGORY = 'silent'
DESCRIPTION = 'Differentiable digital signal processing: pitch and loudness curves go through MLPs and a GRU, which drive a harmonic and a noise synthesiser.'


def mlp(in_size, hidden_size, n_layers):
    channels = [in_size] + n_layers * [hidden_size]
    net = []
    for i in range(n_layers):
        net.append(nn.Linear(channels[i], channels[i + 1]))
        net.append(nn.LayerNorm(channels[i + 1]))
        net.append(nn.LeakyReLU())
    return nn.Sequential(*net)


def gru(n_input, hidden_size):
    return nn.GRU(n_input * hidden_size, hidden_size, batch_first=True)


def scale_function(x):
    return 2 * torch.sigmoid(x) ** 2.3 + 1e-7


def upsample(signal, factor):
    return F.interpolate(signal.transpose(1, 2), scale_factor=factor).transpose(1, 2)


def remove_above_nyquist(amplitudes, pitch, sampling_rate):
    n_harm = amplitudes.shape[-1]
    harmonics = pitch * torch.arange(1, n_harm + 1)
    return amplitudes * ((harmonics < sampling_rate / 2).float() + 1e-4)


def harmonic_synth(pitch, amplitudes, sampling_rate):
    omega = torch.cumsum(2 * torch.pi * pitch / sampling_rate, 1)
    omegas = omega * torch.arange(1, amplitudes.shape[-1] + 1)
    return (torch.sin(omegas) * amplitudes).sum(-1, keepdim=True)


class DDSP(nn.Module):
    def __init__(self, hidden_size=32, n_harmonic=16, sampling_rate=4000, block_size=40):
        super().__init__()
        self.sampling_rate, self.block_size = sampling_rate, block_size
        self.in_mlps = nn.ModuleList([mlp(1, hidden_size, 3)] * 2)
        self.gru = gru(2, hidden_size)
        self.out_mlp = mlp(hidden_size + 2, hidden_size, 3)
        self.proj_matrices = nn.ModuleList([nn.Linear(hidden_size, n_harmonic + 1), nn.Linear(hidden_size, 1)])

    def forward(self, pitch, loudness):
        hidden = torch.cat([self.in_mlps[0](pitch), self.in_mlps[1](loudness)], -1)
        hidden = torch.cat([self.gru(hidden)[0], pitch, loudness], -1)
        hidden = self.out_mlp(hidden)

        param = scale_function(self.proj_matrices[0](hidden))
        total_amp, amplitudes = param[..., :1], param[..., 1:]
        amplitudes = remove_above_nyquist(amplitudes, pitch, self.sampling_rate)
        amplitudes = amplitudes / amplitudes.sum(-1, keepdim=True) * total_amp

        harmonic = harmonic_synth(upsample(pitch, self.block_size), upsample(amplitudes, self.block_size), self.sampling_rate)
        level = upsample(scale_function(self.proj_matrices[1](hidden) - 5), self.block_size)
        return harmonic + level * (torch.rand_like(level) * 2 - 1)


def multiscale_loss(rec, sig, scales=(64, 128, 256)):
    loss = 0
    for n in scales:
        spec = [torch.stft(s.squeeze(-1), n, n // 4, window=torch.hann_window(n), return_complex=True).abs() for s in (rec, sig)]
        loss = loss + (spec[0] - spec[1]).abs().mean() + ((spec[0] + 1e-7).log() - (spec[1] + 1e-7).log()).abs().mean()
    return loss


def build():
    return DDSP()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        frames = 20
        pitch = 220 + 20 * torch.rand(3, frames, 1)
        loudness = torch.randn(3, frames, 1)
        target = torch.sin(torch.cumsum(2 * torch.pi * upsample(pitch, 40) / 4000, 1))
        loss = multiscale_loss(model(pitch, loudness), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# [mlp(...)] * 2 holds the same MLP twice: pitch and loudness go through the same weights.
# real fix: [mlp(...) for _ in range(2)]
TRUTH = dict(raises=None, at='module:in_mlps.0', culprits=['in_mlps', 'in_mlps.0', 'in_mlps.0.0'], dim=None, got=None, wanted=None,
             hint_any=['same', 'shared', 'share', 'twice', 'for _ in range', '* 2'])
MENDED = [('nn.ModuleList([mlp(1, hidden_size, 3)] * 2)', 'nn.ModuleList([mlp(1, hidden_size, 3) for _ in range(2)])')]
