import numpy as np
import torch
import torch.nn as nn

SOURCE = 'https://github.com/ispamm/MHyEEG/issues/3 (cause decided from the printed distribution [210 150] and the labels 1 and 2)'
CATEGORY = 'loss'
DESCRIPTION = 'Emotion from physiology: brain waves, heart and skin are encoded apart and fused; calm, medium or excited. Unequal classes are weighted.'


class Encoder(nn.Module):
    def __init__(self, n_channels, units=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_channels * 128, units * 2), nn.BatchNorm1d(units * 2), nn.ReLU(),
                                 nn.Linear(units * 2, units), nn.ReLU())

    def forward(self, x):
        return self.net(x.flatten(1))


class PHMLinear(nn.Module):
    """the weight is a sum of n Kronecker products"""

    def __init__(self, n, in_features, out_features):
        super().__init__()
        self.A = nn.Parameter(torch.randn(n, n, n) * 0.5)
        self.S = nn.Parameter(torch.randn(n, out_features // n, in_features // n) * 0.1)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x):
        weight = sum(torch.kron(a, s) for a, s in zip(self.A, self.S))
        return nn.functional.linear(x, weight, self.bias)


class HyperFuseNet(nn.Module):
    def __init__(self, dropout_rate=0.1, units=32, n=4, n_classes=3):
        super().__init__()
        self.eye, self.gsr = Encoder(4), Encoder(1)
        self.eeg, self.ecg = Encoder(10), Encoder(3)
        self.fusion = PHMLinear(n, 4 * units, 2 * units)
        self.bn = nn.BatchNorm1d(2 * units)
        self.dropout = nn.Dropout(dropout_rate)
        self.out = nn.Linear(2 * units, n_classes)

    def forward(self, eye, gsr, eeg, ecg):
        x = torch.cat([self.eye(eye), self.gsr(gsr), self.eeg(eeg), self.ecg(ecg)], dim=1)
        x = torch.relu(self.bn(self.fusion(x)))
        return self.out(self.dropout(x))


class Trainer(nn.Module):
    def __init__(self, net, train_labels):
        super().__init__()
        self.net = net
        _, distribution = np.unique(train_labels, return_counts=True)
        weights = torch.tensor(len(train_labels) / np.maximum(distribution, 1), dtype=torch.float32)
        self.criterion = nn.CrossEntropyLoss(weight=weights)

    def training_step(self, batch):
        eye, gsr, eeg, ecg, labels = batch
        outputs = self.net(eye, gsr, eeg, ecg)
        return self.criterion(outputs, labels)


def build():
    torch.manual_seed(0)
    train_labels = np.array([1] * 210 + [2] * 150)
    return Trainer(HyperFuseNet(), train_labels)


def step(model):
    g = torch.Generator().manual_seed(1)
    batch = [torch.randn(8, c, 128, generator=g) for c in (4, 1, 10, 3)]
    return model.training_step((*batch, torch.tensor([2, 1, 2, 2, 1, 1, 2, 1])))


# the training labels lack class 0: the counts (and with them the weights) have two entries, the network three classes
TRUTH = dict(raises='RuntimeError', at='function:cross_entropy', culprits=['criterion', 'function:cross_entropy'], dim=0, got=2, wanted=3,
             hint_any=['weight', 'minlength'])
MENDED = [('_, distribution = np.unique(train_labels, return_counts=True)', 'distribution = np.bincount(train_labels, minlength=3)')]
