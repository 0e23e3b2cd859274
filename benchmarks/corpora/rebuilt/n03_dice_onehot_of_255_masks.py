import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/Yanfeng-Zhou/XNet/issues/10'
CATEGORY = 'layer'
DESCRIPTION = '3D atrium segmentation: the masks keep the 0/255 of the image files and are one-hot encoded for the Dice loss.'


class AtrialVolumes(Dataset):
    def __init__(self, n=4, shape=(16, 16, 8)):
        self.volumes = torch.randn(n, 1, *shape)
        self.masks = [(v[0] > 0.7).mul(255).to(torch.uint8) for v in self.volumes]

    def __len__(self):
        return len(self.volumes)

    def __getitem__(self, i):
        return {'image': self.volumes[i], 'mask': self.masks[i].long()}


class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(in_channels, out_channels, 3, padding=1), nn.BatchNorm3d(out_channels), nn.ReLU(),
                                  nn.Conv3d(out_channels, out_channels, 3, padding=1), nn.BatchNorm3d(out_channels), nn.ReLU())

    def forward(self, x):
        return self.body(x)


class UNet3D(nn.Module):
    def __init__(self, in_channels=1, num_classes=2, base=4):
        super().__init__()
        self.enc1 = ConvBlock(in_channels, base)
        self.enc2 = ConvBlock(base, base * 2)
        self.up = nn.ConvTranspose3d(base * 2, base, 2, 2)
        self.dec1 = ConvBlock(base * 2, base)
        self.out = nn.Conv3d(base, num_classes, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool3d(e1, 2))
        return self.out(self.dec1(torch.cat([self.up(e2), e1], dim=1)))


class BinaryDiceLoss(nn.Module):
    def __init__(self, smooth=1e-5, exponent=2):
        super().__init__()
        self.smooth, self.exponent = smooth, exponent

    def forward(self, output, target, valid_mask):
        output = output.reshape(output.shape[0], -1)
        target = target.reshape(target.shape[0], -1)
        valid_mask = valid_mask.reshape(valid_mask.shape[0], -1)
        num = torch.sum(torch.mul(output, target) * valid_mask, dim=1) * 2 + self.smooth
        den = torch.sum((output.pow(self.exponent) + target.pow(self.exponent)) * valid_mask, dim=1) + self.smooth
        return (1 - num / den).mean()


class DiceLoss(nn.Module):
    def __init__(self, ignore_index=-100):
        super().__init__()
        self.ignore_index = ignore_index
        self.dice = BinaryDiceLoss()

    def _base_forward(self, output, target, valid_mask):
        total_loss = 0
        output = F.softmax(output, dim=1)
        for i in range(target.shape[-1]):
            if i != self.ignore_index:
                total_loss = total_loss + self.dice(output[:, i], target[..., i], valid_mask)
        return total_loss / target.shape[-1]

    def forward(self, output, target):
        valid_mask = (target != self.ignore_index).long()
        target_one_hot = F.one_hot(torch.clamp_min(target, 0))
        return self._base_forward(output, target_one_hot, valid_mask)


def build():
    return UNet3D()


def step(model):
    criterion = DiceLoss()
    batch = next(iter(DataLoader(AtrialVolumes(), batch_size=2)))
    return criterion(model(batch['image']), batch['mask'])


# real fix: foreground 255 -> 1 when the masks are loaded
# offending tensor: the one-hot target (2, 16, 16, 8, 256) against 2 channels of the output
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['target', 'function:one_hot'], dim=4, got=256, wanted=2,
             hint_any=['255', '256', 'one_hot', 'one-hot', 'label value', 'num_classes'])
MENDED = [(".mul(255).to(torch.uint8)", ".to(torch.uint8)")]
