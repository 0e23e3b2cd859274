import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/milesial/Pytorch-UNet/issues/168'
CATEGORY = 'loss'
DESCRIPTION = 'Cells under the microscope: after every epoch the thresholded prediction is compared with masks that were drawn by hand.'


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.double_conv = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True),
                                         nn.Conv2d(out_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)
        self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diffY = x2.size()[2] - x1.size()[2]
        diffX = x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes):
        super().__init__()
        self.n_channels = n_channels
        self.n_classes = n_classes
        self.inc = DoubleConv(n_channels, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 16))
        self.up1 = Up(32, 8)
        self.up2 = Up(16, 8)
        self.outc = nn.Conv2d(8, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up2(self.up1(x3, x2), x1))


class DiceCoeff:
    """Dice coeff for individual examples"""

    def forward(self, input, target):
        eps = 0.0001
        self.inter = torch.dot(input.reshape(-1), target.reshape(-1))
        self.union = torch.sum(input) + torch.sum(target) + eps
        return (2 * self.inter.float() + eps) / self.union.float()


def dice_coeff(input, target):
    """Dice coeff for batches"""
    s = torch.zeros(1)
    for i, c in enumerate(zip(input, target)):
        s = s + DiceCoeff().forward(c[0], c[1])
    return s / (i + 1)


def eval_net(net, loader):
    net.eval()
    tot = 0
    for batch in loader:
        imgs, true_masks = batch['image'], batch['mask']
        with torch.no_grad():
            mask_pred = net(imgs)
        if net.n_classes > 1:
            tot += F.cross_entropy(mask_pred, true_masks.argmax(1))
        else:
            pred = torch.sigmoid(mask_pred)
            pred = (pred > 0.5).float()
            tot += dice_coeff(pred, true_masks)
    net.train()
    return tot / len(loader)


def build():
    torch.manual_seed(0)
    return UNet(n_channels=3, n_classes=1)


def step(model):
    g = torch.Generator().manual_seed(1)
    val_loader = []
    for _ in range(2):
        mask = (torch.rand(1, 1, 128, 128, generator=g) > 0.5).float().expand(-1, 3, -1, -1)
        val_loader.append({'image': torch.rand(1, 3, 128, 128, generator=g), 'mask': mask})
    return 1 - eval_net(model, val_loader).mean()


# the masks were saved as RGB: three equal channels against one of the prediction (16384 and 49152)
TRUTH = dict(raises='RuntimeError', at='function:dot', culprits=['target', 'input'], dim=0, got=49152, wanted=16384,
             hint_any=['channel', 'mask', 'target'])
MENDED = [("imgs, true_masks = batch['image'], batch['mask']", "imgs, true_masks = batch['image'], batch['mask'][:, :1]")]
