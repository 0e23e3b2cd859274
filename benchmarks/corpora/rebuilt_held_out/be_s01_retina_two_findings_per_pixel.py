import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/pytorch/pytorch/issues/27936 (100 by 100, here 60)'
CATEGORY = 'loss'
DESCRIPTION = ('Fundus photographs: two findings (exudate, haemorrhage) may lie on the same pixel, so each has its own sigmoid map; rare findings are '
               'given more weight.')


class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(in_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True),
                                  nn.Conv2d(out_ch, out_ch, 3, padding=1), nn.BatchNorm2d(out_ch), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.conv(x)


class FindingNet(nn.Module):
    def __init__(self, in_channels=3, n_findings=2, width=8):
        super().__init__()
        self.down1 = DoubleConv(in_channels, width)
        self.down2 = DoubleConv(width, width * 2)
        self.bottom = DoubleConv(width * 2, width * 4)
        self.up2 = nn.ConvTranspose2d(width * 4, width * 2, 2, stride=2)
        self.dec2 = DoubleConv(width * 4, width * 2)
        self.up1 = nn.ConvTranspose2d(width * 2, width, 2, stride=2)
        self.dec1 = DoubleConv(width * 2, width)
        self.out = nn.Conv2d(width, n_findings, 1)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(F.max_pool2d(d1, 2))
        b = self.bottom(F.max_pool2d(d2, 2))
        u2 = self.dec2(torch.cat([self.up2(b), d2], dim=1))
        u1 = self.dec1(torch.cat([self.up1(u2), d1], dim=1))
        return self.out(u1)


def build():
    torch.manual_seed(0)
    return FindingNet()


def step(model):
    g = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 60, 60, generator=g)
    targets = (torch.rand(2, 2, 60, 60, generator=g) > 0.9).float()
    positives = targets.sum(dim=(0, 2, 3))
    pos_weight = (targets[:, 0].numel() - positives) / positives
    logits = model(images)
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight)


# pos_weight is broadcast against (N, C, H, W) from the right: one weight per class has to be (C, 1, 1)
TRUTH = dict(raises='RuntimeError', at='function:binary_cross_entropy_with_logits',
             culprits=['function:binary_cross_entropy_with_logits'], dim=0, got=2, wanted=60,
             hint_any=['pos_weight', 'weight', 'broadcast', '(2, 1, 1)', 'view'])
MENDED = [('pos_weight=pos_weight)', 'pos_weight=pos_weight.view(-1, 1, 1))')]
