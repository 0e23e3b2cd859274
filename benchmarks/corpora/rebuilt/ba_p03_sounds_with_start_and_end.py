import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/RetroCirce/HTS-Audio-Transformer/issues/4 (framewise output 1024, input 1001 frames; issue 40 there names the line that '
          'stretches the spectrogram; reduced to 256 and 251)')
CATEGORY = 'loss'
DESCRIPTION = ('Sound event detection with strong labels: the labels have one row for each of the 251 frames of the spectrogram, the transformer stretches the '
               'spectrogram to its image size and gives 256 framewise predictions.')


class Config:
    sample_rate = 3200
    clip_seconds = 10
    hop_size = 128
    window_size = 256
    mel_bins = 16
    classes = 10
    spec_size = 64
    freq_ratio = 4
    patch_stride = (4, 4)
    embed_dim = 24
    heads = 4


class LogmelExtractor(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.register_buffer('window', torch.hann_window(cfg.window_size))
        self.register_buffer('fbank', torch.rand(cfg.window_size // 2 + 1, cfg.mel_bins) / 20)

    def forward(self, wav):
        spec = torch.stft(wav, self.cfg.window_size, self.cfg.hop_size, window=self.window, center=True, return_complex=True)
        mel = spec.abs().pow(2).transpose(1, 2) @ self.fbank
        return 10 * torch.log10(mel.clamp(min=1e-10)).unsqueeze(1)


def interpolate(x, ratio):
    """Interpolate the x to have equal time steps as the input"""
    batch, steps, classes = x.shape
    return x[:, :, None, :].repeat(1, 1, ratio, 1).reshape(batch, steps * ratio, classes)


class PatchEmbed(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.proj = nn.Conv2d(1, cfg.embed_dim, cfg.patch_stride, stride=cfg.patch_stride)
        self.norm = nn.LayerNorm(cfg.embed_dim)

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class HTSAT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.logmel = LogmelExtractor(cfg)
        self.bn0 = nn.BatchNorm2d(cfg.mel_bins)
        self.patch_embed = PatchEmbed(cfg)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(cfg.embed_dim, cfg.heads, 48, dropout=0.0, batch_first=True) for _ in range(2))
        self.norm = nn.LayerNorm(cfg.embed_dim)
        self.tscam_conv = nn.Conv2d(cfg.embed_dim, cfg.classes, (cfg.spec_size // cfg.patch_stride[0] // cfg.freq_ratio, 3), padding=(0, 1))

    def reshape_wav2img(self, x):
        B, C, T, Fr = x.shape
        target_T = self.cfg.spec_size * self.cfg.freq_ratio
        target_F = self.cfg.spec_size // self.cfg.freq_ratio
        if T < target_T:
            x = F.interpolate(x, (target_T, x.shape[3]), mode='bicubic', align_corners=True)
        if Fr < target_F:
            x = F.interpolate(x, (x.shape[2], target_F), mode='bicubic', align_corners=True)
        x = x.permute(0, 1, 3, 2).contiguous()
        x = x.reshape(B, C, target_F, self.cfg.freq_ratio, target_T // self.cfg.freq_ratio)
        x = x.permute(0, 1, 3, 2, 4).contiguous()
        return x.reshape(B, C, target_F * self.cfg.freq_ratio, -1)

    def forward_features(self, x):
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        B, N, C = x.shape
        sf = st = self.cfg.spec_size // self.cfg.patch_stride[0]
        x = x.permute(0, 2, 1).reshape(B, C, self.cfg.freq_ratio, sf // self.cfg.freq_ratio, st)
        x = x.permute(0, 1, 3, 2, 4).reshape(B, C, sf // self.cfg.freq_ratio, -1)
        x = self.tscam_conv(x).flatten(2).transpose(1, 2)
        framewise = interpolate(torch.sigmoid(x), self.cfg.patch_stride[1])
        return dict(framewise_output=framewise, clipwise_output=torch.sigmoid(x.mean(1)))

    def forward(self, wav):
        x = self.logmel(wav)
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        return self.forward_features(self.reshape_wav2img(x))


def roll(events, frames, cfg):
    label = torch.zeros(frames, cfg.classes)
    per_second = frames / cfg.clip_seconds
    for onset, offset, kind in events:
        label[int(onset * per_second):int(offset * per_second) + 1, kind] = 1
    return label


class StrongClips(torch.utils.data.Dataset):
    def __init__(self, cfg, size=10):
        self.cfg, self.size = cfg, size
        self.frames = cfg.sample_rate * cfg.clip_seconds // cfg.hop_size + 1

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        wav = torch.randn(self.cfg.sample_rate * self.cfg.clip_seconds) * 0.1
        events = [(0.5 + i * 0.3, 3.0 + i * 0.4, i % 10), (2.0, 4.5, 7)]
        return wav, roll(events, self.frames, self.cfg)


def build():
    torch.manual_seed(0)
    return HTSAT(Config())


def step(model):
    wav, strong = next(iter(torch.utils.data.DataLoader(StrongClips(model.cfg), batch_size=10)))
    out = model(wav)
    strong_loss = F.binary_cross_entropy(out['framewise_output'], strong)
    weak_loss = F.binary_cross_entropy(out['clipwise_output'], strong.amax(1))
    return strong_loss + 0.5 * weak_loss


# the labels are to be made with the number of steps that the model gives (1024 in the issue), or the outputs brought to the frames of the spectrogram
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'function:interpolate'], dim=1, got=256, wanted=251,
             hint_any=['interpolate', '251', 'frame', 'steps', 'resize'])
MENDED = [('        self.frames = cfg.sample_rate * cfg.clip_seconds // cfg.hop_size + 1', '        self.frames = cfg.spec_size * cfg.freq_ratio')]
