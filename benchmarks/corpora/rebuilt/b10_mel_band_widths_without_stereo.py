import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/BS-RoFormer/issues/10'
CATEGORY = 'layer'
DESCRIPTION = 'Mel-band roformer with stereo=True: the spectrum holds both channels in the frequency axis, the widths of the bands were computed for one.'


def mel_filter_bank(sr, n_fft, n_mels):
    to_mel = lambda f: 2595 * torch.log10(1 + f / 700)
    to_hz = lambda m: 700 * (10 ** (m / 2595) - 1)
    points = to_hz(torch.linspace(0, float(to_mel(torch.tensor(sr / 2))), n_mels + 2))
    freqs = torch.linspace(0, sr / 2, n_fft // 2 + 1)
    up = (freqs - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    down = (points[2:, None] - freqs) / (points[2:] - points[1:-1])[:, None]
    return torch.minimum(up, down).clamp(min=0)


class Attention(nn.Module):
    def __init__(self, dim, heads=2, dim_head=8):
        super().__init__()
        self.norm, self.heads = nn.RMSNorm(dim), heads
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_gates = nn.Linear(dim, heads)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x):
        b, n, _ = x.shape
        x = self.norm(x)
        q, k, v = self.to_qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v) * self.to_gates(x).sigmoid().transpose(1, 2)[..., None]
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([Attention(dim), nn.Sequential(nn.RMSNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))])
                                    for _ in range(depth))
        self.norm = nn.RMSNorm(dim)

    def forward(self, x):
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.norm(x)


class BandSplit(nn.Module):
    def __init__(self, dim, dim_inputs):
        super().__init__()
        self.dim_inputs = dim_inputs
        self.to_features = nn.ModuleList(nn.Sequential(nn.RMSNorm(dim_in), nn.Linear(dim_in, dim)) for dim_in in dim_inputs)

    def forward(self, x):
        x = x.split(self.dim_inputs, dim=-1)
        return torch.stack([to_feature(split) for split, to_feature in zip(x, self.to_features)], dim=-2)


class MaskEstimator(nn.Module):
    def __init__(self, dim, dim_inputs):
        super().__init__()
        self.to_freqs = nn.ModuleList(nn.Sequential(nn.Linear(dim, 2 * dim), nn.Tanh(), nn.Linear(2 * dim, 2 * d), nn.GLU(dim=-1)) for d in dim_inputs)

    def forward(self, x):
        return torch.cat([mlp(band) for band, mlp in zip(x.unbind(dim=-2), self.to_freqs)], dim=-1)


class MelBandRoformer(nn.Module):
    def __init__(self, dim=16, depth=1, stereo=False, num_bands=12, sample_rate=8000, n_fft=256, hop=64):
        super().__init__()
        self.audio_channels = 2 if stereo else 1
        self.stft_kwargs = dict(n_fft=n_fft, hop_length=hop, win_length=n_fft)
        self.layers = nn.ModuleList(nn.ModuleList([Transformer(dim, 1), Transformer(dim, 1)]) for _ in range(depth))
        bank = mel_filter_bank(sample_rate, n_fft, num_bands)
        bank[0][0] = 1.
        bank[-1, -1] = 1.
        freqs_per_band = bank > 0
        freq_indices = torch.arange(n_fft // 2 + 1).repeat(num_bands, 1)[freqs_per_band]
        if stereo:
            freq_indices = (freq_indices[:, None] * 2 + torch.arange(2)).flatten()
        self.register_buffer('freq_indices', freq_indices, persistent=False)
        self.register_buffer('num_bands_per_freq', freqs_per_band.sum(0), persistent=False)
        freqs_per_bands_with_complex = tuple(2 * f for f in freqs_per_band.sum(1).tolist())
        self.band_split = BandSplit(dim, freqs_per_bands_with_complex)
        self.mask_estimator = MaskEstimator(dim, freqs_per_bands_with_complex)

    def forward(self, raw_audio, target=None):
        b, s, length = raw_audio.shape
        window = torch.hann_window(self.stft_kwargs['win_length'])
        spec = torch.stft(raw_audio.flatten(0, 1), **self.stft_kwargs, window=window, return_complex=True)
        spec = torch.view_as_real(spec).unflatten(0, (b, s)).permute(0, 2, 1, 3, 4).flatten(1, 2)
        x = spec[:, self.freq_indices]
        x = x.permute(0, 2, 1, 3).flatten(2)
        x = self.band_split(x)
        for time_transformer, freq_transformer in self.layers:
            t, n = x.shape[1:3]
            x = time_transformer(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (b, n)).transpose(1, 2)
            x = freq_transformer(x.flatten(0, 1)).unflatten(0, (b, t))
        masks = self.mask_estimator(x).unflatten(-1, (-1, 2)).transpose(1, 2)
        masks, spec = torch.view_as_complex(masks.contiguous()), torch.view_as_complex(spec.contiguous())
        index = self.freq_indices[None, :, None].expand(b, -1, spec.shape[-1])
        summed = torch.zeros_like(spec).scatter_add(1, index, masks)
        averaged = summed / self.num_bands_per_freq.repeat_interleave(s).clamp(min=1)[:, None]
        spec = (spec * averaged).unflatten(1, (-1, s)).transpose(1, 2).flatten(0, 1)
        recon = torch.istft(spec, **self.stft_kwargs, window=window, length=length).unflatten(0, (b, s))
        return recon if target is None else F.l1_loss(recon, target)


def build():
    return MelBandRoformer(stereo=True)


def step(model):
    stems = torch.randn(3, 2, 2, 4096) * 0.1
    return model(stems.sum(1), target=stems[:, 0])


# real fix: 2 * f * self.audio_channels for the widths of the bands (released as 0.2.2)
# offending tensor: x with 2*2*(sum of the band widths) features, the split sizes sum to half of it
TRUTH = dict(raises='RuntimeError', at='function:split', culprits=['band_split', 'function:split', 'function:getitem', ''], dim=2, got=932, wanted=466,
             hint_any=['stereo', 'channel', 'dim_inputs', 'twice', 'double', 'half', 'factor'])
MENDED = [('tuple(2 * f for f', 'tuple(2 * f * self.audio_channels for f')]
