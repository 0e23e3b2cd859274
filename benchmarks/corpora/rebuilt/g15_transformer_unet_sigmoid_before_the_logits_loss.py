import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'http://www.dtcms.com/a/394596.html (a report "from UNet to UCTransNet: BCE loss fails")'
CATEGORY = 'silent'
DESCRIPTION = 'CT foreground segmentation: UNet returned logits, the network that replaces it ends in a sigmoid of its own; with BCEWithLogitsLoss the loss stays at 0.693.'


class CBN(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class ChannelTransformer(nn.Module):
    def __init__(self, channels, patches, heads=2):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.position = nn.Parameter(torch.zeros(1, patches, channels))

    def forward(self, x):
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2) + self.position
        n = self.norm(tokens)
        tokens = tokens + self.attn(n, n, n)[0]
        return tokens.transpose(1, 2).reshape(b, c, h, w)


class UCTransNet(nn.Module):
    def __init__(self, n_channels=1, n_classes=1, base=8, size=16):
        super().__init__()
        self.n_classes = n_classes
        self.inc = CBN(n_channels, base)
        self.down1 = CBN(base, base * 2)
        self.down2 = CBN(base * 2, base * 2)
        self.mtc = ChannelTransformer(base * 2, (size // 2) ** 2)
        self.up1 = CBN(base * 4, base)
        self.up2 = CBN(base * 2, base)
        self.outc = nn.Conv2d(base, n_classes, 1)
        self.last_activation = nn.Sigmoid()

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x2 = self.mtc(x2)
        y = self.up1(torch.cat([x2, F.interpolate(x3, scale_factor=2)], 1))
        y = self.up2(torch.cat([x1, F.interpolate(y, scale_factor=2)], 1))
        if self.n_classes == 1:
            logits = self.last_activation(self.outc(y))
        else:
            logits = self.outc(y)
        return logits


def build():
    return UCTransNet()


def step(model):
    criterion = nn.BCEWithLogitsLoss()
    images = torch.randn(4, 1, 16, 16)
    masks = (torch.rand(4, 1, 16, 16) > 0.8).float()
    return criterion(model(images), masks)


# the post's fix: the last layer returns what Conv2d gives
TRUTH = dict(raises=None, at='loss:binary_cross_entropy_with_logits',
             culprits=['last_activation', 'function:sigmoid', 'function:binary_cross_entropy_with_logits'], dim=None, got=None, wanted=None,
             hint_any=['sigmoid', 'logits', 'twice'])
MENDED = [('logits = self.last_activation(self.outc(y))', 'logits = self.outc(y)')]
