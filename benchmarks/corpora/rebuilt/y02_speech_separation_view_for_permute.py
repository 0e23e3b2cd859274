import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/vitrioil/Speech-Separation/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Audio-visual separation: the (B, 8, T, F) audio map is viewed as (B, 8*F, T, 1) without moving the frequencies beside the channels, time and frequency are mixed.'


class DilatedBlock(nn.Module):
    def __init__(self, cin, cout, kernel, dilation):
        super().__init__()
        pad = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
        self.conv = nn.Conv2d(cin, cout, kernel, padding=pad, dilation=dilation)
        self.bn = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class AudioStream(nn.Module):
    def __init__(self, width=12, last=8):
        super().__init__()
        spec = [((1, 7), (1, 1)), ((7, 1), (1, 1)), ((5, 5), (1, 1)), ((5, 5), (2, 1))]
        layers, cin = [], 2
        for kernel, dilation in spec:
            layers.append(DilatedBlock(cin, width, kernel, dilation))
            cin = width
        layers.append(DilatedBlock(cin, last, (1, 1), (1, 1)))
        self.blocks = nn.Sequential(*layers)

    def forward(self, x):
        return self.blocks(x)


class VideoStream(nn.Module):
    def __init__(self, emb=32, out=16):
        super().__init__()
        self.conv1 = nn.Conv2d(emb, out, (7, 1), padding=(3, 0))
        self.conv2 = nn.Conv2d(out, out, (5, 1), padding=(2, 0))

    def forward(self, x, frames):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.interpolate(x, size=(frames, 1), mode='nearest')


class AudioVisualFusion(nn.Module):
    def __init__(self, freq=33, speakers=2, hidden=20):
        super().__init__()
        self.speakers, self.freq = speakers, freq
        self.audio = AudioStream()
        self.video = VideoStream()
        self.lstm = nn.LSTM(8 * freq + 16 * speakers, hidden, batch_first=True, bidirectional=True)
        self.mask = nn.Linear(2 * hidden, freq * 2 * speakers)

    def forward(self, spec, faces):
        batch_size = spec.size(0)
        audio = self.audio(spec)
        height = audio.size(2)
        audio = audio.view(batch_size, -1, height, 1)
        videos = [self.video(f, height) for f in faces]
        fused = torch.cat([audio] + videos, dim=1).squeeze(3).transpose(1, 2)
        out, _ = self.lstm(fused)
        mask = torch.sigmoid(self.mask(F.relu(out)))
        mask = mask.view(batch_size, height, self.freq, 2, self.speakers)
        return mask.permute(0, 4, 3, 1, 2)


def build():
    return AudioVisualFusion()


def step(model):
    mix = torch.randn(3, 2, 24, 33)
    faces = [torch.randn(3, 32, 6, 1) for _ in range(2)]
    clean = torch.randn(3, 2, 2, 24, 33)
    return F.mse_loss(model(mix, faces) * mix.unsqueeze(1), clean)


# real fix: audio.permute(0, 2, 1, 3).contiguous().view(B, T, -1, 1).permute(0, 2, 1, 3)
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=None, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'mix', 'interleav', 'scrambl'])
MENDED = [('audio = audio.view(batch_size, -1, height, 1)',
           'audio = audio.permute(0, 2, 1, 3).contiguous().view(batch_size, height, -1, 1).permute(0, 2, 1, 3)')]
