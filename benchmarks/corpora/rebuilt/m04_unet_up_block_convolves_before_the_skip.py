import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://devgem.io/posts/how-to-fix-channel-mismatch-errors-in-u-net-architecture-in-pytorch (a forum question)'
CATEGORY = 'layer'
DESCRIPTION = 'U-Net: up() puts the transposed conv and the double conv into one Sequential, so the double conv runs before the skip is joined: 64 channels for 128.'


class UNet(nn.Module):
    def __init__(self, in_channels=3, out_channels=1, base=16):
        super().__init__()
        c = [base * 2 ** i for i in range(4)]
        self.encoder1 = self.double_conv(in_channels, c[0])
        self.encoder2 = self.down(c[0], c[1])
        self.encoder3 = self.down(c[1], c[2])
        self.bottleneck = self.down(c[2], c[3])
        self.decoder3 = self.up(c[3], c[2])
        self.decoder2 = self.up(c[2], c[1])
        self.decoder1 = self.up(c[1], c[0])
        self.final = nn.Conv2d(c[0], out_channels, kernel_size=1)

    def double_conv(self, in_channels, out_channels):
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def down(self, in_channels, out_channels):
        return nn.Sequential(nn.MaxPool2d(2), self.double_conv(in_channels, out_channels))

    def up(self, in_channels, out_channels):
        return nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2),
            self.double_conv(in_channels, out_channels))

    def forward(self, x):
        enc1 = self.encoder1(x)
        enc2 = self.encoder2(enc1)
        enc3 = self.encoder3(enc2)
        x = self.bottleneck(enc3)
        for decoder, skip in ((self.decoder3, enc3), (self.decoder2, enc2), (self.decoder1, enc1)):
            x = torch.cat((decoder(x), skip), dim=1)
        return self.final(x)


def dice_loss(logits, masks, smooth=1.0):
    p = torch.sigmoid(logits).flatten(1)
    m = masks.flatten(1)
    return (1 - (2 * (p * m).sum(1) + smooth) / (p.sum(1) + m.sum(1) + smooth)).mean()


def build():
    return UNet()


def step(model):
    images, masks = torch.rand(2, 3, 64, 64), (torch.rand(2, 1, 64, 64) > 0.6).float()
    logits = model(images)
    return F.binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, masks)


# real fix: the upsampled map is joined to the skip between the two parts of the block
# offending tensor: output of decoder3.0 (2, 64, 16, 16) where 128 channels are needed
TRUTH = dict(raises='RuntimeError', at='module:decoder3.1.0', culprits=['decoder3', 'decoder3.0', 'decoder3.1.0', 'decoder3.1', ''], dim=1, got=64, wanted=128,
             hint_any=['cat', 'skip', '128', 'decoder3'])
MENDED = [('x = torch.cat((decoder(x), skip), dim=1)', 'x = decoder[1](torch.cat((decoder[0](x), skip), dim=1))')]
