import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/megvii-research/TLC/issues/22'
CATEGORY = 'layer'
DESCRIPTION = 'MPRNet on a photograph whose height is not a multiple of four: halving rounds down, doubling gives 24 rows beside a skip of 25.'


def conv(in_channels, out_channels, kernel_size, bias=False, stride=1):
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias, stride=stride)


class CALayer(nn.Module):
    def __init__(self, channel, reduction=4):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_du = nn.Sequential(nn.Conv2d(channel, channel // reduction, 1), nn.ReLU(), nn.Conv2d(channel // reduction, channel, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.conv_du(self.avg_pool(x))


class CAB(nn.Module):
    def __init__(self, n_feat):
        super().__init__()
        self.body = nn.Sequential(conv(n_feat, n_feat, 3), nn.PReLU(), conv(n_feat, n_feat, 3))
        self.CA = CALayer(n_feat)

    def forward(self, x):
        return self.CA(self.body(x)) + x


class DownSample(nn.Module):
    def __init__(self, in_channels, s_factor):
        super().__init__()
        self.down = nn.Sequential(nn.Upsample(scale_factor=0.5, mode='bilinear', align_corners=False),
                                  nn.Conv2d(in_channels, in_channels + s_factor, 1, bias=False))

    def forward(self, x):
        return self.down(x)


class SkipUpSample(nn.Module):
    def __init__(self, in_channels, s_factor):
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False),
                                nn.Conv2d(in_channels + s_factor, in_channels, 1, bias=False))

    def forward(self, x, y):
        x = self.up(x)
        x = x + y
        return x


class Encoder(nn.Module):
    def __init__(self, n_feat, scale):
        super().__init__()
        self.levels = nn.ModuleList([CAB(n_feat + i * scale) for i in range(3)])
        self.downs = nn.ModuleList([DownSample(n_feat + i * scale, scale) for i in range(2)])

    def forward(self, x):
        outs = []
        for i, level in enumerate(self.levels):
            x = level(x)
            outs.append(x)
            if i < 2:
                x = self.downs[i](x)
        return outs


class Decoder(nn.Module):
    def __init__(self, n_feat, scale):
        super().__init__()
        self.level1, self.level2, self.level3 = CAB(n_feat), CAB(n_feat + scale), CAB(n_feat + 2 * scale)
        self.up21 = SkipUpSample(n_feat, scale)
        self.up32 = SkipUpSample(n_feat + scale, scale)

    def forward(self, outs):
        enc1, enc2, enc3 = outs
        dec3 = self.level3(enc3)
        dec2 = self.level2(self.up32(dec3, enc2))
        return self.level1(self.up21(dec2, enc1))


class MPRStage(nn.Module):
    def __init__(self, n_feat=16, scale=8):
        super().__init__()
        self.shallow_feat = nn.Sequential(conv(3, n_feat, 3), CAB(n_feat))
        self.encoder = Encoder(n_feat, scale)
        self.decoder = Decoder(n_feat, scale)
        self.tail = conv(n_feat, 3, 3)

    def forward(self, img):
        return self.tail(self.decoder(self.encoder(self.shallow_feat(img)))) + img


def charbonnier(x, y, eps=1e-3):
    return torch.sqrt((x - y) ** 2 + eps ** 2).mean()


def build():
    return MPRStage()


def step(model):
    clean = torch.rand(2, 3, 50, 64)
    noisy = clean + 0.1 * torch.randn_like(clean)
    restored = model(noisy)
    return charbonnier(restored, clean)


TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:add', 'decoder.up32.up.0', 'decoder.up32', 'encoder.downs.1.down.0'], dim=2, got=24, wanted=25,
             hint_any=['pad', 'odd', 'multiple', 'divis', 'interpolate', '25'])
MENDED = [('restored = model(noisy)', "restored = model(F.pad(noisy, (0, 0, 0, 2), mode='reflect'))[:, :, :50]")]
