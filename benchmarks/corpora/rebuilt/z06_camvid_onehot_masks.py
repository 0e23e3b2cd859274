import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader

SOURCE = 'https://github.com/UsamaI000/CamVid-Segmentation-Pytorch/issues/2'
CATEGORY = 'loss'
DESCRIPTION = 'CamVid masks are turned from RGB into 12 binary planes; that works with MSE, cross entropy wants the index of the class.'

Sky = [128, 128, 128]
Building = [128, 0, 0]
Pole = [192, 192, 128]
Road_marking = [255, 69, 0]
Road = [128, 64, 128]
Pavement = [60, 40, 222]
Tree = [128, 128, 0]
SignSymbol = [192, 128, 128]
Fence = [64, 64, 128]
Car = [64, 0, 128]
Pedestrian = [64, 64, 0]
Bicyclist = [0, 128, 192]
class_map = [Sky, Building, Pole, Road_marking, Road, Pavement, Tree, SignSymbol, Fence, Car, Pedestrian, Bicyclist]


class CamVidDataset(Dataset):
    def __init__(self, n, h, w):
        self.n, self.h, self.w = n, h, w
        self.classes = class_map

    def __len__(self):
        return self.n

    def _read(self, index):
        rng = np.random.RandomState(index)
        coarse = rng.randint(0, len(class_map), (self.h // 8, self.w // 8))
        idx = coarse.repeat(8, 0).repeat(8, 1)
        mask = np.array(class_map, dtype=np.uint8)[idx]
        img = (mask.astype(np.float32) + rng.randn(self.h, self.w, 3) * 20) / 255.
        return img.astype(np.float32), mask

    def adjust_mask(self, mask):
        semantic_map = []
        for colour in self.classes:
            equality = np.equal(mask, colour)
            class_map = np.all(equality, axis=-1)
            semantic_map.append(class_map)
        semantic_map = np.stack(semantic_map, axis=0)
        return semantic_map.astype(np.int64)

    def __getitem__(self, index):
        img, mask = self._read(index)
        mask = self.adjust_mask(mask)
        return torch.from_numpy(img).permute(2, 0, 1), torch.from_numpy(mask)


def conv_block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes, base=8):
        super().__init__()
        self.enc = nn.ModuleList([conv_block(n_channels, base), conv_block(base, base * 2), conv_block(base * 2, base * 4)])
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList([nn.ConvTranspose2d(base * 4, base * 2, 2, 2), nn.ConvTranspose2d(base * 2, base, 2, 2)])
        self.dec = nn.ModuleList([conv_block(base * 4, base * 2), conv_block(base * 2, base)])
        self.outc = nn.Conv2d(base, n_classes, 1)

    def forward(self, x):
        skips = []
        for i, e in enumerate(self.enc):
            x = e(x if i == 0 else self.pool(x))
            skips.append(x)
        for up, dec, s in zip(self.up, self.dec, skips[-2::-1]):
            x = dec(torch.cat([s, up(x)], 1))
        return self.outc(x)


def build():
    torch.manual_seed(0)
    return UNet(3, len(class_map))


def step(model):
    train_loader = DataLoader(CamVidDataset(24, 32, 48), batch_size=12)
    criterion = nn.CrossEntropyLoss()
    running = 0.0
    for image, label in train_loader:
        pred = model(image)
        running += criterion(pred, label)
    return running / len(train_loader)


# real fix: the index mask (batch, h, w): label.argmax(1)
# offending tensor: label (12, 12, 32, 48)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['target'], dim=1, got=12, wanted=None,
             hint_any=['argmax', 'one-hot', 'one hot', 'index', 'indices', 'float', 'probabilit'])
MENDED = [('criterion(pred, label)', 'criterion(pred, label.argmax(1))')]
