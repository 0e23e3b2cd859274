import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://whosebug.com/question/6505309/Dimensionality-problem-with-PyTorch-Conv-layers (Stack Overflow, translated)'
CATEGORY = 'layer'
DESCRIPTION = 'Table of 100 rows with 10 readings for a stack of 1x1 Conv1d layers that take the readings as channels; the loader makes (B,1,10) of it.'

config = [10, 100, 100, 100, 100]
batch_size = 20
kernel_size = 1


class NeuralNet(nn.Module):
    def __init__(self, config, kernel_size=1):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList([nn.Sequential(
            nn.Conv1d(self.config[i], self.config[i + 1], kernel_size=kernel_size),
            nn.BatchNorm1d(self.config[i + 1]),
            nn.ReLU(),
            nn.Dropout(0.1 * (i > 0)))
            for i in range(len(self.config) - 1)])
        self.last_layer = nn.Linear(self.config[-1], 3)
        self.layers.append(nn.Flatten())
        self.layers.append(self.last_layer)

    def forward(self, x):
        for i, l in enumerate(self.layers):
            x = l(x)
        return x


class Standardizer:
    def fit(self, table):
        self.mean, self.std = table.mean(0, keepdim=True), table.std(0, keepdim=True)
        return self

    def __call__(self, table):
        return (table - self.mean) / (self.std + 1e-8)


def loader(train_data, batch_size):
    inps, tgts = train_data
    inps = Standardizer().fit(inps)(inps)
    inps = torch.unsqueeze(inps, 1)
    dataset = TensorDataset(inps, tgts)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True)


def training_loop(model, dataloader, criterion, l1=1e-5):
    model.train()
    total, seen = 0.0, 0
    for inps, tgts in dataloader:
        out = model(inps)
        loss = criterion(out, tgts) + l1 * sum(p.abs().sum() for p in model.last_layer.parameters())
        total, seen = total + loss * len(inps), seen + len(inps)
    return total / seen


def build():
    return NeuralNet(config, kernel_size)


def step(model):
    signals = torch.rand(100, 10) * torch.arange(1, 11)
    targets = torch.stack([signals.mean(1), signals.amax(1), signals.std(1)], 1)
    return training_loop(model, loader((signals, targets), batch_size), nn.SmoothL1Loss())


# real fix: the readings are the channels: torch.unsqueeze(inps, 2), (B, 10, 1)
# offending tensor: inps (20, 1, 10)
TRUTH = dict(raises='RuntimeError', at='module:layers.0.0', culprits=['input', 'function:unsqueeze'], dim=1, got=1, wanted=10,
             hint_any=['unsqueeze', 'transpose', 'permute', '(20, 10, 1)'])
MENDED = [('inps = torch.unsqueeze(inps, 1)', 'inps = torch.unsqueeze(inps, 2)')]
