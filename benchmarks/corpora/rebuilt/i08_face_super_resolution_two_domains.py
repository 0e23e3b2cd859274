import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wcy-cs/SFMNet/issues/12 (32 against 128; cause read from the numbers: the network keeps the size of its input)'
CATEGORY = 'loss'
DESCRIPTION = 'Face super resolution in two domains: the network refines an image that was enlarged beforehand; the own data set hands over the small image.'


class FreBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.amp = nn.Sequential(nn.Conv2d(c, c, 1), nn.LeakyReLU(0.1), nn.Conv2d(c, c, 1))
        self.pha = nn.Sequential(nn.Conv2d(c, c, 1), nn.LeakyReLU(0.1), nn.Conv2d(c, c, 1))

    def forward(self, x):
        h, w = x.shape[-2:]
        f = torch.fft.rfft2(x, norm='backward')
        amp, pha = self.amp(f.abs() + 1e-8), self.pha(f.angle())
        return torch.fft.irfft2(torch.complex(amp * pha.cos(), amp * pha.sin()), s=(h, w), norm='backward') + x


class SFMNet(nn.Module):
    def __init__(self, c=8, n_blocks=2):
        super().__init__()
        self.head = nn.Conv2d(3, c, 3, 1, 1)
        self.down = nn.Conv2d(c, c, 3, 2, 1)
        self.spatial = nn.ModuleList(nn.Sequential(nn.Conv2d(c, c, 3, 1, 1), nn.PReLU()) for _ in range(n_blocks))
        self.frequency = nn.ModuleList(FreBlock(c) for _ in range(n_blocks))
        self.up = nn.Sequential(nn.Conv2d(c, 4 * c, 1), nn.PixelShuffle(2))
        self.tail = nn.Conv2d(2 * c, 3, 3, 1, 1)

    def forward(self, x):
        feat = self.head(x)
        y = self.down(feat)
        for spa, fre in zip(self.spatial, self.frequency):
            y = spa(y) + fre(y)
        out = self.tail(torch.cat([feat, self.up(y)], dim=1)) + x
        return {'img_out': out, 'img_fre': torch.fft.rfft2(out).abs()}


class FaceData(torch.utils.data.Dataset):
    def __init__(self, scale=4, size=64):
        self.scale, self.size = scale, size

    def __len__(self):
        return 8

    def __getitem__(self, i):
        hr = torch.rand(3, self.size, self.size)
        lr = F.interpolate(hr[None], scale_factor=1 / self.scale, mode='bicubic', align_corners=False)[0]
        return {'img': lr, 'img_gt': hr}


def build():
    return SFMNet()


def step(model):
    criterion1 = nn.L1Loss()
    data = next(iter(torch.utils.data.DataLoader(FaceData(), batch_size=8)))
    sr = model(data['img'])
    loss = criterion1(sr['img_out'], data['img_gt'])
    return loss + 0.01 * criterion1(sr['img_fre'], torch.fft.rfft2(data['img_gt']).abs())


# real fix: enlarge the small image to the size of the ground truth before it goes into the network
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['input', 'function:interpolate'], dim=3, got=16, wanted=64,
             hint_any=['upsampl', 'interpol', 'resolution', 'enlarg', '4', 'resize', 'spatial'])
MENDED = [("align_corners=False)[0]\n        return", "align_corners=False)\n        lr = F.interpolate(lr, size=(self.size, self.size), mode='bicubic', align_corners=False)[0]\n        return")]
