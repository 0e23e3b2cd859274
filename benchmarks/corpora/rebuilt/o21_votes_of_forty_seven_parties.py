import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://discuss.pytorch.org/t/need-guidance-on-loss-function-for-multi-label-multi-output-classification/189373'
CATEGORY = 'correct'
DESCRIPTION = 'Forty-seven labels a sample, every one of them -1, 0 or 1: one network answers all questions, cross entropy with an extra dimension.'


class MultiOutputNet(nn.Module):
    def __init__(self, features=30, labels=47, classes=3):
        super().__init__()
        self.labels, self.classes = labels, classes
        self.body = nn.Sequential(
            nn.Linear(features, 64),
            nn.LayerNorm(64),
            nn.GELU(),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(64, classes * labels)

    def forward(self, x):
        out = self.head(self.body(x))
        return out.view(-1, self.classes, self.labels)

    @torch.no_grad()
    def predict(self, x):
        return self(x).argmax(dim=1) - 1


def class_weights(y, classes=3):
    counts = torch.bincount((y + 1).long().flatten(), minlength=classes).float()
    return counts.sum() / (classes * counts.clamp(min=1))


def bills(n):
    x = torch.randn(n, 30)
    y = torch.sign(x[:, :1] + torch.randn(n, 47)) * (torch.rand(n, 47) < 0.7)
    return x, y


def build():
    return MultiOutputNet()


def step(model):
    x, y = bills(24)
    criterion = nn.CrossEntropyLoss(weight=class_weights(y))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=8):
        optimizer.zero_grad()
        y_pred = model(inputs)
        loss = criterion(y_pred, (targets + 1).long())
        loss.backward()
        optimizer.step()
    model.eval()
    assert model.predict(x).shape == y.shape
    model.train()
    return loss.detach()


# The K-dimensional case of CrossEntropyLoss: (N, 3, 47) and (N, 47) with classes 0, 1, 2. The view only names the outputs of the head.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
