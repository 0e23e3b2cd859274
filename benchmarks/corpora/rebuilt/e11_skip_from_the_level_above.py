import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/rollthecloudinc/hedge/issues/308'
CATEGORY = 'layer'
DESCRIPTION = 'Hand-written U-Net that adds its skips: the transposed convolution keeps 256 channels, the encoder map of that level has 128.'


class FreespaceDataset(Dataset):
    def __init__(self, n=4, size=(32, 48)):
        self.n, self.size = n, size

    def __len__(self):
        return self.n

    def __getitem__(self, idx):
        g = torch.Generator().manual_seed(idx)
        image = torch.rand(3, *self.size, generator=g)
        mask = (torch.rand(1, *self.size, generator=g) > 0.6).float()
        return image, mask


class BasicUNet(nn.Module):
    def __init__(self, in_channels=3, out_channels=1):
        super().__init__()
        self.enc1 = self.conv_block(in_channels, 64)
        self.enc2 = self.conv_block(64, 128)
        self.enc3 = self.conv_block(128, 256)
        self.pool = nn.MaxPool2d(2, 2)
        self.bottleneck = self.conv_block(256, 256)
        self.upconv1 = nn.ConvTranspose2d(256, 256, kernel_size=2, stride=2)
        self.dec1 = self.conv_block(256, 128)
        self.upconv2 = nn.ConvTranspose2d(128, 128, kernel_size=2, stride=2)
        self.dec2 = self.conv_block(128, 64)
        self.drop = nn.Dropout2d(0.1)
        self.final = nn.Conv2d(64, out_channels, kernel_size=1)

    def conv_block(self, cin, cout):
        return nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))

    def forward(self, x):
        x1 = self.enc1(x)
        x2 = self.pool(x1)
        x3 = self.enc2(x2)
        x4 = self.pool(x3)
        x5 = self.bottleneck(self.enc3(x4))
        x6 = self.upconv1(x5)
        x7 = self.dec1(x6 + x3)
        x8 = self.upconv2(x7)
        x9 = self.dec2(x8)
        return self.final(self.drop(x9))


def iou(outputs, masks):
    p = (outputs > 0).float()
    inter = (p * masks).sum()
    return inter / ((p + masks).clamp(max=1).sum() + 1e-6)


def train_model(model, train_loader, epochs, criterion):
    model.train()
    total, seen = 0.0, 0
    for epoch in range(epochs):
        for images, masks in train_loader:
            outputs = model(images)
            loss = criterion(outputs, masks)
            with torch.no_grad():
                score = iou(outputs, masks)
            total = total + loss + 0 * score
            seen += 1
    return total / seen


def build():
    return BasicUNet()


def step(model):
    loader = DataLoader(FreespaceDataset(), batch_size=2, shuffle=False)
    return train_model(model, loader, 1, nn.BCEWithLogitsLoss())


# real fix: upconv1 halves the channels (256 -> 128) as x3 has 128, and dec1 takes 128
# offending tensor: x6 (2, 256, 16, 24), x3 has 128 channels
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['upconv1'], dim=1, got=256, wanted=128,
             hint_any=['out_channels', '128', 'channel', 'cat'])
MENDED = [('nn.ConvTranspose2d(256, 256, kernel_size=2, stride=2)', 'nn.ConvTranspose2d(256, 128, kernel_size=2, stride=2)'),
          ('self.dec1 = self.conv_block(256, 128)', 'self.dec1 = self.conv_block(128, 128)')]
