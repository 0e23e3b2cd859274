"""The network gives (batch, 1), the targets are (batch,): a hand-written Huber loss of
all pairs.

https://github.com/sktime/sktime/issues/10931
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, C, T = 6, 2, 20


class Fcn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(C, 8, 5, padding=2), nn.Conv1d(
            8, 8, 3, padding=1
        )
        self.bn, self.fc = nn.BatchNorm1d(8), nn.Linear(8, 1)

    def forward(self, x):
        x = F.relu(self.bn(self.conv1(x)))
        return self.fc(F.relu(self.conv2(x)).mean(-1))


def huber(pred, target, delta=1.0):
    error = pred - target
    small = error.abs() <= delta
    return torch.where(
        small, 0.5 * error**2, delta * (error.abs() - 0.5 * delta)
    ).mean()


def build():
    return Fcn()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = huber(model(torch.randn(B, C, T)), torch.randn(B))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, C, T = 8, 8, 8"
CULPRITS = ["fc", "function:sub", "target"]
MENDED = [
    (
        "    loss = huber(model(torch.randn(B, C, T)), torch.randn(B))\n",
        "    loss = huber(model(torch.randn(B, C, T)).squeeze(-1), torch.randn(B))\n",
    ),
]
