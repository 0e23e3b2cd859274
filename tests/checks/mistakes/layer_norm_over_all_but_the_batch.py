"""BaselineLayerNorm normalises over all but the batch, so the items are normalised
with the features.

https://github.com/Qualcomm-AI-research/geometric-algebra-transformer/pull/8
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D = 3, 10, 16


class BaselineLayerNorm(nn.Module):
    def forward(self, inputs):
        return F.layer_norm(inputs, normalized_shape=inputs.shape[1:])


class Block(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.norm = BaselineLayerNorm()
        self.attention = nn.MultiheadAttention(hidden, 4, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden)
        )

    def forward(self, inputs):
        h = self.norm(inputs)
        h, _ = self.attention(h, h, h, need_weights=False)
        outputs = inputs + h
        return outputs + self.mlp(self.norm(outputs))


class BaselineTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear_in, self.linear_out = nn.Linear(6, D), nn.Linear(D, 3)
        self.blocks = nn.ModuleList([Block(D) for _ in range(2)])

    def forward(self, inputs):
        h = self.linear_in(inputs)
        for block in self.blocks:
            h = block(h)
        return self.linear_out(h)


def build():
    return BaselineTransformer()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.mse_loss(model(torch.randn(B, T, 6)), torch.randn(B, T, 3))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D = 16, 16, 16"
CULPRITS = ["blocks.0.norm", "blocks.1.norm", "function:layer_norm"]
MENDED = [
    (
        "        return F.layer_norm(inputs, normalized_shape=inputs.shape[1:])\n",
        "        return F.layer_norm(inputs, normalized_shape=inputs.shape[-1:])\n",
    ),
]
