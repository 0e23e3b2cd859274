"""ResidualBlock adds its input twice: once in the block and once in what it returns.

https://github.com/yakhyo/darknet-pytorch/issues/2
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, C, S = 2, 8, 12


class Conv(nn.Module):
    def __init__(self, cin, cout, k):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, padding=k // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x):
        return F.leaky_relu(self.norm(self.conv(x)), 0.1)


class ResidualBlock(nn.Module):
    def __init__(self, channels, shortcut=True):
        super().__init__()
        self.shortcut = shortcut
        self.conv1, self.conv2 = Conv(channels, channels // 2, 1), Conv(
            channels // 2, channels, 3
        )

    def forward(self, x):
        residual = x
        out = self.conv2(self.conv1(x))
        if self.shortcut:
            out = out + residual
        out = out + x
        return out


class Darknet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Conv(3, C, 3)
        self.blocks = nn.Sequential(ResidualBlock(C), ResidualBlock(C))
        self.fc = nn.Linear(C, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def build():
    return Darknet()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(torch.rand(B, 3, S, S)), torch.randint(0, 10, (B,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, C, S = 8, 8, 8"
CULPRITS = ["blocks.0", "blocks.1", "function:add"]
MENDED = [
    ("        out = out + x\n", ""),
]
