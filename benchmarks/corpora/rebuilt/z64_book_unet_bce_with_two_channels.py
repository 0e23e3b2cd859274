import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/PacktPublishing/Modern-Computer-Vision-with-PyTorch/issues/25'
CATEGORY = 'loss'
DESCRIPTION = 'Book U-Net on own masks of 0 and 1: cross entropy is exchanged for BCELoss with out_channels=2, the masks stay (B,H,W) index maps.'


class SegData(Dataset):
    def __init__(self, n=8, size=64):
        g = torch.Generator().manual_seed(3)
        self.images = torch.rand(n, size, size, 3, generator=g)
        self.masks = (torch.rand(n, size, size, generator=g) > 0.7).long()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, ix):
        return self.images[ix], self.masks[ix]

    def collate_fn(self, batch):
        ims, masks = list(zip(*batch))
        ims = torch.cat([im.permute(2, 0, 1)[None] for im in ims]).float()
        ce_masks = torch.cat([mask[None] for mask in masks]).float()
        return ims, ce_masks


def conv(in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=1, padding=1),
                         nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def up_conv(in_channels, out_channels):
    return nn.Sequential(nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, out_channels=12):
        super().__init__()
        self.block1 = conv(3, 8)
        self.block2 = nn.Sequential(nn.MaxPool2d(2), conv(8, 16))
        self.block3 = nn.Sequential(nn.MaxPool2d(2), conv(16, 32))
        self.bottleneck = nn.Sequential(nn.MaxPool2d(2))
        self.conv_bottleneck = conv(32, 64)
        self.up_conv6 = up_conv(64, 32)
        self.conv6 = conv(32 + 32, 32)
        self.up_conv7 = up_conv(32, 16)
        self.conv7 = conv(16 + 16, 16)
        self.up_conv8 = up_conv(16, 8)
        self.conv8 = conv(8 + 8, 8)
        self.conv11 = nn.Conv2d(8, out_channels, kernel_size=1)

    def forward(self, x):
        block1 = self.block1(x)
        block2 = self.block2(block1)
        block3 = self.block3(block2)
        x = self.conv_bottleneck(self.bottleneck(block3))
        x = self.conv6(torch.cat([self.up_conv6(x), block3], dim=1))
        x = self.conv7(torch.cat([self.up_conv7(x), block2], dim=1))
        x = self.conv8(torch.cat([self.up_conv8(x), block1], dim=1))
        return self.conv11(x)


ce = nn.BCELoss()


def UnetLoss(preds, targets):
    probs = torch.sigmoid(preds)
    ce_loss = ce(probs, targets)
    acc = ((probs > 0.5).float() == targets).float().mean()
    return ce_loss, acc


def train_batch(model, data, criterion):
    model.train()
    ims, ce_masks = data
    _masks = model(ims)
    loss, acc = criterion(_masks, ce_masks)
    return loss


def build():
    torch.manual_seed(0)
    return UNet(out_channels=2)


def step(model):
    trn_ds = SegData()
    trn_dl = DataLoader(trn_ds, batch_size=4, shuffle=False, collate_fn=trn_ds.collate_fn)
    return train_batch(model, next(iter(trn_dl)), UnetLoss)


# real fix: out_channels=1 and targets of shape (4, 1, H, W)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['target', 'conv11'], dim=1, got=2, wanted=1,
             hint_any=['unsqueeze', '(4, 1, 64, 64)', 'one channel', 'out_channels', '1 channel', 'channel'])
MENDED = [('UNet(out_channels=2)', 'UNet(out_channels=1)'), ('[mask[None] for mask in masks]', '[mask[None, None] for mask in masks]')]
