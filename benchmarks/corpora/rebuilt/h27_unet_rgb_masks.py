import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/milesial/Pytorch-UNet/issues/244'
CATEGORY = 'loss'
DESCRIPTION = 'U-Net with one class: the mask files are RGB images and go through the same preprocessing as the pictures, so the true masks have three channels.'


class DoubleConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.double_conv = nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                                         nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.up = nn.ConvTranspose2d(cin, cin // 2, 2, stride=2)
        self.conv = DoubleConv(cin, cout)

    def forward(self, x1, x2):
        return self.conv(torch.cat([x2, self.up(x1)], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes):
        super().__init__()
        self.n_channels, self.n_classes = n_channels, n_classes
        self.inc = DoubleConv(n_channels, 8)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(16, 32))
        self.up1 = Up(32, 16)
        self.up2 = Up(16, 8)
        self.outc = nn.Conv2d(8, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up2(self.up1(x3, x2), x1))


class BasicDataset(Dataset):
    def __init__(self, n=4, size=32):
        g = torch.Generator().manual_seed(0)
        self.imgs = [torch.randint(0, 256, (size, size, 3), generator=g) for _ in range(n)]
        self.masks = [(torch.rand(size, size, 1, generator=g) > 0.5).long().mul(255).expand(size, size, 3) for _ in range(n)]

    def __len__(self):
        return len(self.imgs)

    @staticmethod
    def preprocess(img):
        if img.dim() == 2:
            img = img.unsqueeze(-1)
        img = img.permute(2, 0, 1).float()
        if img.max() > 1:
            img = img / 255
        return img

    def __getitem__(self, i):
        img = self.preprocess(self.imgs[i])
        mask = self.preprocess(self.masks[i])
        return {'image': img, 'mask': mask}


def build():
    torch.manual_seed(0)
    return UNet(n_channels=3, n_classes=1)


def step(model):
    loader = DataLoader(BasicDataset(), batch_size=1)
    criterion = nn.CrossEntropyLoss() if model.n_classes > 1 else nn.BCEWithLogitsLoss()
    batch = next(iter(loader))
    masks_pred = model(batch['image'])
    return criterion(masks_pred, batch['mask'])


# the mask has to be read as a grey picture
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['target'], dim=1, got=3, wanted=1,
             hint_any=['mask', 'target', 'channel', '3'])
MENDED = [('self.preprocess(self.masks[i])', 'self.preprocess(self.masks[i][..., 0])')]
