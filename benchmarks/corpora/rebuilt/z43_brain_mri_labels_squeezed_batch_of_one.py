from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/Sllambias/asparagus/pull/5'
CATEGORY = 'loss'
DESCRIPTION = 'A smoke test with batch_size=1: squeeze() makes a 0-d target of the (1, 1) labels of a volume classifier.'


@dataclass
class Config:
    batch_size: int = 1
    patch_size: tuple = (16, 16, 16)
    num_classes: int = 3
    starting_filters: int = 8
    label_smoothing: float = 0.0


class VolumeDataset(Dataset):
    def __init__(self, cfg, n=4):
        self.cfg, self.n = cfg, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {'image': torch.randn(1, *self.cfg.patch_size), 'label': torch.tensor([i % self.cfg.num_classes]), 'file_path': f'case_{i}.pt'}


class ConvBlock(nn.Module):
    def __init__(self, in_ch, out_ch, stride=1):
        super().__init__()
        self.conv = nn.Conv3d(in_ch, out_ch, 3, stride, 1)
        self.norm = nn.InstanceNorm3d(out_ch, affine=True)
        self.skip = nn.Conv3d(in_ch, out_ch, 1, stride)

    def forward(self, x):
        return nn.functional.leaky_relu(self.norm(self.conv(x)) + self.skip(x))


class ResEncClassifier(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        f = cfg.starting_filters
        self.stages = nn.ModuleList([ConvBlock(1, f), ConvBlock(f, 2 * f, 2), ConvBlock(2 * f, 4 * f, 2)])
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(4 * f, cfg.num_classes)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(self.pool(x).flatten(1))


class ClassificationModule(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.model = ResEncClassifier(cfg)
        self.loss_fn = nn.CrossEntropyLoss(label_smoothing=cfg.label_smoothing)

    def process_batch(self, batch):
        inputs, target = batch['image'], batch['label']
        return inputs, target.squeeze().long(), batch['file_path']

    def training_step(self, batch, batch_idx):
        inputs, target, _ = self.process_batch(batch)
        return self.loss_fn(self.model(inputs), target)


def build():
    return ClassificationModule(Config())


def step(model):
    loader = DataLoader(VolumeDataset(model.cfg), batch_size=model.cfg.batch_size, shuffle=True)
    for batch_idx, batch in enumerate(loader):
        return model.training_step(batch, batch_idx)


# real fix: target.view(-1)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['function:squeeze', 'target'], dim=0, got=None, wanted=1,
             hint_any=['squeeze', 'view(-1)', '0-d', 'scalar'])
MENDED = [('target.squeeze()', 'target.view(-1)')]
