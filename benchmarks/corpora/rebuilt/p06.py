from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sthalles/SimCLR/issues/60'
CATEGORY = 'layer'
DESCRIPTION = 'SimCLR on a small own data set: the labels and the mask are made for batch_size=256 views, the loader has one batch of 50 images.'

args = SimpleNamespace(batch_size=128, n_views=2, temperature=0.07, out_dim=16, arch='resnet-tiny')


class BasicBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.down = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.down(x))


class ResNetSimCLR(nn.Module):
    def __init__(self, out_dim):
        super().__init__()
        self.backbone = nn.Sequential(BasicBlock(3, 8, 2), BasicBlock(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, out_dim))

    def forward(self, x):
        return self.head(self.backbone(x))


class SimCLR:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.criterion = nn.CrossEntropyLoss()

    def info_nce_loss(self, features):
        labels = torch.cat([torch.arange(self.args.batch_size) for i in range(self.args.n_views)], dim=0)
        labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
        features = F.normalize(features, dim=1)
        similarity_matrix = torch.matmul(features, features.T)
        mask = torch.eye(labels.shape[0], dtype=torch.bool)
        labels = labels[~mask].view(labels.shape[0], -1)
        similarity_matrix = similarity_matrix[~mask].view(similarity_matrix.shape[0], -1)
        positives = similarity_matrix[labels.bool()].view(labels.shape[0], -1)
        negatives = similarity_matrix[~labels.bool()].view(similarity_matrix.shape[0], -1)
        logits = torch.cat([positives, negatives], dim=1) / self.args.temperature
        return logits, torch.zeros(logits.shape[0], dtype=torch.long)

    def train(self, loader):
        total = 0.
        for images in loader:
            images = torch.cat(images, dim=0)
            logits, labels = self.info_nce_loss(self.model(images))
            total = total + self.criterion(logits, labels)
        return total


def build():
    return ResNetSimCLR(args.out_dim)


def step(model):
    images = torch.rand(50, 3, 16, 16)
    loader = [[b + 0.1 * torch.randn_like(b) for _ in range(args.n_views)] for b in images.split(args.batch_size)]
    return SimCLR(args, model).train(loader)


# real fix: torch.arange(features.size(0) // self.args.n_views) in place of self.args.batch_size
# offending tensor: mask (256, 256) on a similarity matrix (100, 100)
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:eye', 'function:arange', 'function:cat', 'input'], dim=0, got=256, wanted=100,
             hint_any=['mask', 'batch', '256', 'arange', 'eye'])
MENDED = [('torch.arange(self.args.batch_size)', 'torch.arange(features.size(0) // self.args.n_views)')]
