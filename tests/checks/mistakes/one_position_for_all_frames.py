"""PositionalEncoding: pe[:, x.shape[1], :] takes the one row behind the sequence and
adds it to every frame.

https://github.com/DiffPoseTalk/DiffPoseTalk/issues/20
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D = 3, 10, 16


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=600):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        pe = torch.zeros(max_len, d_model)
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(
            torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model)
        )
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0))

    def forward(self, x):
        x = x + self.pe[:, x.shape[1], :]
        return self.dropout(x)


class StyleEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(7, D)
        self.pe = PositionalEncoding(D)
        layer = nn.TransformerEncoderLayer(D, 4, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(D, 5)

    def forward(self, motion):
        x = self.encoder(self.pe(self.proj(motion)))
        return self.head(x.mean(dim=1))


def build():
    return StyleEncoder()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.cross_entropy(model(torch.randn(B, T, 7)), torch.randint(0, 5, (B,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D = 16, 16, 16"
CULPRITS = ["function:add", "function:getitem", "pe"]
MENDED = [
    (
        "        x = x + self.pe[:, x.shape[1], :]\n",
        "        x = x + self.pe[:, : x.shape[1], :]\n",
    ),
]
