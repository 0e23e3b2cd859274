import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/Project-MONAI/tutorials/issues/86'
CATEGORY = 'layer'
DESCRIPTION = '3-D DenseNet for MRI: the check data set is built a second time without transforms, so AddChannel and Resize never run and two scans look like two channels.'


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, x):
        for t in self.transforms:
            x = t(x)
        return x


class ScaleIntensity:
    def __call__(self, x):
        return (x - x.min()) / (x.max() - x.min())


class AddChannel:
    def __call__(self, x):
        return x[None]


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, x):
        return F.interpolate(x[None], size=self.size, mode='trilinear', align_corners=False)[0]


class NiftiDataset(Dataset):
    def __init__(self, image_files, labels=None, transform=None):
        self.image_files, self.labels, self.transform = image_files, labels, transform

    def __len__(self):
        return len(self.image_files)

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(len(self.image_files[index]) + index)
        img = torch.rand(56, 56, 40, generator=generator) * 900
        if self.transform is not None:
            img = self.transform(img)
        return img, self.labels[index]


class DenseLayer(nn.Module):
    def __init__(self, in_ch, growth):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm3d(in_ch), nn.ReLU(), nn.Conv3d(in_ch, 2 * growth, 1, bias=False),
                                    nn.BatchNorm3d(2 * growth), nn.ReLU(), nn.Conv3d(2 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Module):
    def __init__(self, in_channels, out_channels, init_features=8, growth=4, config=(2, 2)):
        super().__init__()
        feats = [nn.Conv3d(in_channels, init_features, 7, 2, 3, bias=False), nn.BatchNorm3d(init_features), nn.ReLU(), nn.MaxPool3d(3, 2, 1)]
        ch = init_features
        for i, n in enumerate(config):
            for _ in range(n):
                feats.append(DenseLayer(ch, growth))
                ch += growth
            if i != len(config) - 1:
                feats += [nn.BatchNorm3d(ch), nn.ReLU(), nn.Conv3d(ch, ch // 2, 1), nn.AvgPool3d(2)]
                ch //= 2
        self.features = nn.Sequential(*feats)
        self.class_layers = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(1), nn.Dropout(0.1), nn.Linear(ch, out_channels))

    def forward(self, x):
        return self.class_layers(self.features(x))


def build():
    return DenseNet(in_channels=1, out_channels=2)


def step(model):
    images = [f'IXI{n:03d}-T1.nii.gz' for n in (314, 249, 609, 173)]
    labels = torch.tensor([0, 1, 1, 0])

    train_transforms = Compose([ScaleIntensity(), AddChannel(), Resize((24, 24, 24))])

    check_ds = NiftiDataset(image_files=images, labels=labels, transform=train_transforms)
    check_ds = NiftiDataset(image_files=images, labels=labels)
    check_loader = DataLoader(check_ds, batch_size=2, num_workers=0)

    loss_function = nn.CrossEntropyLoss()
    epoch_loss = 0.
    for inputs, targets in check_loader:
        outputs = model(inputs)
        epoch_loss = epoch_loss + loss_function(outputs, targets)
    return epoch_loss / len(check_loader)


# real fix: the second data set is left out, or gets transform=train_transforms as well (AddChannel gives (2, 1, 24, 24, 24))
# offending tensor: inputs (2, 56, 56, 40), no channel dimension
TRUTH = dict(raises='RuntimeError', at='module:features.0', culprits=['input'], dim=0, got=2, wanted=1,
             hint_any=['unsqueeze(1)', 'channel dim', 'no channel', 'add a channel', '5-d', '5d', 'five', 'unbatched', '[:, none]'])
MENDED = [('    check_ds = NiftiDataset(image_files=images, labels=labels)\n', '')]
