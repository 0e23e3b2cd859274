"""ResidualBlock: adding x to x doubles the result instead of adding the input of the
block.

https://github.com/werner-duvaud/muzero-general/issues/89
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, C, S = 4, 8, 6


class ResidualBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(
            channels, channels, 3, padding=1, bias=False
        ), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(
            channels, channels, 3, padding=1, bias=False
        ), nn.BatchNorm2d(channels)

    def forward(self, x):
        inp = x  # noqa: F841
        x = self.conv1(x)
        x = self.bn1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = self.bn2(x)
        x += x
        return F.relu(x)


class Representation(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, C, 3, padding=1), nn.BatchNorm2d(C)
        self.resblocks = nn.ModuleList([ResidualBlock(C) for _ in range(2)])
        self.value, self.policy = nn.Linear(C * S * S, 1), nn.Linear(C * S * S, 9)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        for block in self.resblocks:
            x = block(x)
        x = x.flatten(1)
        return self.value(x).squeeze(-1), self.policy(x)


def build():
    return Representation()


def step(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    value, policy = model(torch.rand(B, 3, S, S))
    loss = F.mse_loss(value, torch.rand(B)) + F.cross_entropy(
        policy, torch.randint(0, 9, (B,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, C, S = 6, 6, 6"
CULPRITS = ["function:add", "resblocks.0", "resblocks.1"]
MENDED = [
    ("        x += x\n", "        x += inp\n"),
]
