import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://duoke360.com/post/34061 (Chinese copy of a Stack Overflow question: tensor a (4), tensor b (3), dimension 0; that the fourth channel is the alpha channel is read from the numbers)'
CATEGORY = 'layer'
DESCRIPTION = 'Pictures saved as PNG have four channels, the transform normalises with three means.'

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def imread(path, height=40, width=48):
    channels = 4 if path.endswith('.png') else 3
    return torch.randint(0, 256, (height, width, channels), dtype=torch.uint8)


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img


class ToTensor:
    def __call__(self, img):
        return img.permute(2, 0, 1).float() / 255


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, img):
        top, left = (img.shape[0] - self.size) // 2, (img.shape[1] - self.size) // 2
        return img[top:top + self.size, left:left + self.size]


class Normalize:
    def __init__(self, mean, std):
        self.mean = torch.tensor(mean)
        self.std = torch.tensor(std)

    def __call__(self, tensor):
        return (tensor - self.mean[:, None, None]) / self.std[:, None, None]


class PortraitDataset(Dataset):
    def __init__(self, paths, labels, transform):
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        image = imread(self.paths[i])
        return self.transform(image), self.labels[i]


class SmallNet(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        return self.fc(self.features(x).flatten(1))


def build():
    return SmallNet()


def step(model):
    paths = [f'portraits/{i:03d}.png' for i in range(12)]
    labels = [i % 3 for i in range(12)]
    transform = Compose([CenterCrop(32), ToTensor(), Normalize(MEAN, STD)])
    loader = DataLoader(PortraitDataset(paths, labels, transform), batch_size=4)
    images, targets = next(iter(loader))
    return nn.functional.cross_entropy(model(images), targets)


TRUTH = dict(raises='RuntimeError', at='function:sub', culprits=['input'], dim=0, got=4, wanted=3,
             hint_any=['rgb', 'alpha', 'channel', '3'])
MENDED = [('image = imread(self.paths[i])', 'image = imread(self.paths[i])[..., :3]')]
