import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, FEATURES, HIDDEN = 16, 7, 24


class Regressor(nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, hidden // 2)
        self.out = nn.Linear(hidden // 2, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        x = F.relu(self.bn1(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.out(x).squeeze(1)


def build():
    return Regressor(FEATURES, HIDDEN)


def step(model):
    x = torch.randn(BATCH, FEATURES)
    weights = torch.rand(FEATURES)
    y = (x * weights).sum(dim=1)
    pred = model(x)
    return F.mse_loss(pred, y)


EQUAL = dict(BATCH=8, FEATURES=8, HIDDEN=8)
