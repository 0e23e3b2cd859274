"""ConvBlock: the dropout takes x, which throws the convolutions and the residual away.

https://github.com/speechbrain/speechbrain/issues/1124
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, C = 3, 40, 8


class ConvBlock(nn.Module):
    def __init__(self, channels, layers=2, residual=True):
        super().__init__()
        self.convs = nn.Sequential()
        for i in range(layers):
            self.convs.add_module(
                f"conv_{i}", nn.Conv1d(channels, channels, 3, padding=1)
            )
            self.convs.add_module(f"norm_{i}", nn.BatchNorm1d(channels))
            self.convs.add_module(f"act_{i}", nn.LeakyReLU())
        self.reduce_conv = nn.Conv1d(channels, channels, 1) if residual else None
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        out = self.convs(x)
        if self.reduce_conv:
            out = out + self.reduce_conv(x)
            out = self.drop(x)
        return out


class FrontEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Conv1d(20, C, 1)
        self.block1, self.block2 = ConvBlock(C), ConvBlock(C)
        self.out = nn.Linear(C, 12)

    def forward(self, feats):
        x = self.block2(self.block1(self.inp(feats)))
        return self.out(x.mean(2))


def build():
    return FrontEnd()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.cross_entropy(model(torch.randn(B, 20, T)), torch.randint(0, 12, (B,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, C = 8, 8, 8"
CULPRITS = [
    "block1",
    "block1.convs",
    "block1.drop",
    "block1.reduce_conv",
    "block2",
    "block2.convs",
    "block2.drop",
    "block2.reduce_conv",
    "function:add",
]
MENDED = [
    ("            out = self.drop(x)\n", "            out = self.drop(out)\n"),
]
