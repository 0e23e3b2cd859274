"""The table is (max_len, 1, D) for (batch, time, D): the rows go along the batch, each
step gets the same.

https://github.com/NeuracoreAI/neuracore/pull/154
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D = 4, 9, 16


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=100):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(
            torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model)
        )
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(position * div_term), torch.cos(
            position * div_term
        )
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj, self.pos = nn.Linear(7, D), PositionalEncoding(D)
        layer = nn.TransformerEncoderLayer(D, 4, 32, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(D, 6)

    def forward(self, obs):
        return self.head(self.encoder(self.pos(self.proj(obs)))[:, -1])


def build():
    return Policy()


def step(model):
    optimizer = torch.optim.AdamW(model.parameters())
    loss = F.mse_loss(model(torch.randn(B, T, 7)), torch.randn(B, 6))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D = 16, 16, 16"
CULPRITS = ["function:add", "function:getitem", "pos"]
MENDED = [
    (
        "        return x + self.pe[: x.size(0)]\n",
        "        return x + self.pe[: x.size(1), 0]\n",
    ),
]
