import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/bigmb/Unet-Segmentation-Pytorch-Nest-of-Unets/issues/55'
CATEGORY = 'layer'
DESCRIPTION = 'U-Net with four poolings on an image whose height is no multiple of 16: the upsampled map is one row short of the skip at torch.cat.'


class conv_block(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
            nn.Conv2d(out_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.conv(x)


class up_conv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(in_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.up(x)


class U_Net(nn.Module):
    def __init__(self, in_ch=3, out_ch=1, n1=4):
        super().__init__()
        filters = [n1, n1 * 2, n1 * 4, n1 * 8, n1 * 16]
        self.Maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.enc = nn.ModuleList([conv_block(a, b) for a, b in zip([in_ch] + filters, filters)])
        self.up = nn.ModuleList([up_conv(filters[i + 1], filters[i]) for i in reversed(range(4))])
        self.dec = nn.ModuleList([conv_block(filters[i + 1], filters[i]) for i in reversed(range(4))])
        self.Conv = nn.Conv2d(filters[0], out_ch, 1)

    def forward(self, x):
        skips = []
        for i, enc in enumerate(self.enc):
            x = enc(x if i == 0 else self.Maxpool(x))
            skips.append(x)
        d = skips.pop()
        for up, dec in zip(self.up, self.dec):
            d = up(d)
            d = torch.cat((skips.pop(), d), dim=1)
            d = dec(d)
        return self.Conv(d)


class Images_Dataset(torch.utils.data.Dataset):
    def __init__(self, height=56, width=64):
        self.size = (height, width)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.rand(3, *self.size), (torch.rand(1, *self.size) > 0.5).float()


def dice_loss(prediction, target, smooth=1.0):
    i_flat, t_flat = prediction.view(-1), target.view(-1)
    return 1 - (2. * (i_flat * t_flat).sum() + smooth) / (i_flat.sum() + t_flat.sum() + smooth)


def build():
    return U_Net()


def step(model):
    x, y = next(iter(torch.utils.data.DataLoader(Images_Dataset(), batch_size=2)))
    pred = model(x)
    return 0.5 * F.binary_cross_entropy_with_logits(pred, y) + 0.5 * dice_loss(torch.sigmoid(pred), y)


# real fix: give images whose sides are multiples of 2 ** 4 (or pad, or resize before the cat)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', 'function:cat', 'up.0.up.0'], dim=2, got=6, wanted=7,
             hint_any=['16', 'multiple', 'divisible', 'pad', 'odd', 'interpolate'])
MENDED = [('height=56', 'height=64')]
