import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ZFTurbo/Music-Source-Separation-Training/issues/83 (131418 against 131584; 131418 = 298 * 441, the hop of the roformer, is read from the numbers)'
CATEGORY = 'loss'
DESCRIPTION = 'Music separation: chunk_size of the audio section is no multiple of the stft_hop_length of the model, the inverse STFT gives back whole hops only.'

CONFIG = dict(
    audio=dict(chunk_size=1024, num_channels=1, sample_rate=44100),
    model=dict(dim=24, depth=2, heads=4, stft_n_fft=128, stft_hop_length=44, stft_win_length=128),
    training=dict(batch_size=4, target_instrument='vocal'),
)


class Attend(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        return x + self.to_out(out)


class MelBandRoformer(nn.Module):
    def __init__(self, dim, depth, heads, stft_n_fft, stft_hop_length, stft_win_length):
        super().__init__()
        self.stft_kwargs = dict(n_fft=stft_n_fft, hop_length=stft_hop_length, win_length=stft_win_length)
        self.register_buffer('window', torch.hann_window(stft_win_length), persistent=False)
        freqs = stft_n_fft // 2 + 1
        self.band_split = nn.Linear(freqs * 2, dim)
        self.layers = nn.ModuleList([Attend(dim, heads) for _ in range(depth)])
        self.mask_estimator = nn.Sequential(nn.Linear(dim, dim * 2), nn.Tanh(), nn.Linear(dim * 2, freqs * 2))

    def forward(self, raw_audio):
        stft_repr = torch.stft(raw_audio, **self.stft_kwargs, window=self.window, return_complex=True)
        b, f, t = stft_repr.shape
        x = torch.view_as_real(stft_repr).permute(0, 2, 1, 3).reshape(b, t, f * 2)
        x = self.band_split(x)
        for layer in self.layers:
            x = layer(x)
        mask = self.mask_estimator(x).reshape(b, t, f, 2).permute(0, 2, 1, 3).contiguous()
        stft_repr = stft_repr * torch.view_as_complex(mask)
        return torch.istft(stft_repr, **self.stft_kwargs, window=self.window)


class MSSDataset:
    def __init__(self, config, seconds=0.2):
        self.chunk_size = config['audio']['chunk_size']
        length = int(seconds * config['audio']['sample_rate'])
        self.stems = {name: torch.randn(length) * 0.1 for name in ('vocal', 'instrumental')}

    def load_chunk(self, name, start):
        return self.stems[name][start:start + self.chunk_size]

    def batch(self, size):
        starts = torch.randint(0, 8820 - self.chunk_size, (size,)).tolist()
        vocal = torch.stack([self.load_chunk('vocal', s) for s in starts])
        rest = torch.stack([self.load_chunk('instrumental', s) for s in starts])
        return vocal + rest, vocal


def masked_loss(y_, y):
    return F.mse_loss(y_, y)


def build():
    return MelBandRoformer(**CONFIG['model'])


def step(model):
    mix, target = MSSDataset(CONFIG).batch(CONFIG['training']['batch_size'])
    return masked_loss(model(mix), target)


# istft gives 23 * 44 = 1012 samples for a chunk of 1024
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['input', 'target', 'function:istft'], dim=1, got=1012, wanted=1024,
             hint_any=['hop', 'length', 'istft', '1012', 'multiple'])
MENDED = [('chunk_size=1024', 'chunk_size=1012')]
