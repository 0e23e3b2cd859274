import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kaidic/LDAM-DRW/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Focal loss takes p from cross_entropy with its default mean reduction: one (1-p)^gamma for the whole batch instead of one per sample.'


def focal_loss(input_values, gamma):
    """Computes the focal loss"""
    p = torch.exp(-input_values)
    loss = (1 - p) ** gamma * input_values
    return loss.mean()


class FocalLoss(nn.Module):
    def __init__(self, weight=None, gamma=0.):
        super().__init__()
        assert gamma >= 0
        self.gamma = gamma
        self.weight = weight

    def forward(self, input, target):
        return focal_loss(F.cross_entropy(input, target, weight=self.weight), self.gamma)


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.planes, self.stride = planes, stride

    def shortcut(self, x):
        x = x[:, :, ::self.stride, ::self.stride]
        pad = self.planes - x.size(1)
        return F.pad(x, (0, 0, 0, 0, pad // 2, pad - pad // 2))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet_s(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layers = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 16, 2), BasicBlock(16, 32, 2))
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x):
        out = self.layers(F.relu(self.bn1(self.conv1(x))))
        out = F.avg_pool2d(out, out.size(3)).view(out.size(0), -1)
        return self.linear(out)


def class_balanced_weights(cls_num_list, beta=0.999):
    n = torch.tensor(cls_num_list, dtype=torch.float)
    per_cls_weights = (1.0 - beta) / (1.0 - beta ** n)
    return per_cls_weights / per_cls_weights.sum() * len(cls_num_list)


def build():
    return ResNet_s()


def step(model):
    cls_num_list = [500, 300, 200, 120, 80, 50, 30, 20, 10, 5]
    weights = class_balanced_weights(cls_num_list)
    target = torch.multinomial(torch.tensor(cls_num_list, dtype=torch.float), 16, replacement=True)
    criterion = FocalLoss(weight=weights, gamma=2.)
    return criterion(model(torch.randn(16, 3, 32, 32)), target)


# real fix: F.cross_entropy(input, target, reduction='none', weight=self.weight)
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['function:cross_entropy'], dim=None, got=None, wanted=None,
             hint_any=['reduction', 'none', 'scalar', 'per sample', 'mean'])
MENDED = [('F.cross_entropy(input, target, weight=self.weight)', "F.cross_entropy(input, target, weight=self.weight, reduction='none')")]
