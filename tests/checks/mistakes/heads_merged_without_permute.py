"""values of (batch, heads, time, head_dim) are reshaped to (batch, time, hidden)
without a permute.

https://github.com/jsbaan/transformer-from-scratch/issues/4
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D, HEADS = 3, 7, 24, 4


class MultiHeadAttention(nn.Module):
    def __init__(self, hidden_dim, num_heads):
        super().__init__()
        self.num_heads, self.qkv_dim = num_heads, hidden_dim // num_heads
        self.qkv_proj = nn.Linear(hidden_dim, 3 * hidden_dim, bias=False)
        self.o_proj = nn.Linear(hidden_dim, hidden_dim, bias=False)

    def forward(self, x):
        batch_size, sequence_length, hidden_dim = x.size()
        qkv = self.qkv_proj(x).reshape(
            batch_size, sequence_length, self.num_heads, 3 * self.qkv_dim
        )
        q, k, v = qkv.permute(0, 2, 1, 3).chunk(3, dim=-1)
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.qkv_dim)
        values = torch.matmul(F.softmax(scores, dim=-1), v)
        values = values.reshape(batch_size, sequence_length, hidden_dim)
        return self.o_proj(values)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, D)
        self.attn, self.norm = MultiHeadAttention(D, HEADS), nn.LayerNorm(D)
        self.out = nn.Linear(D, 50)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.out(self.norm(x + self.attn(x)))


def build():
    return Encoder()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    tokens, labels = torch.randint(0, 50, (B, T)), torch.randint(0, 50, (B, T))
    loss = F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D, HEADS = 4, 4, 16, 4"
CULPRITS = ["attn", "function:reshape"]
MENDED = [
    (
        "        values = values.reshape(batch_size, sequence_length, hidden_dim)\n",
        (
            "        values = values.permute(0, 2, 1, 3).reshape(\n"
            "            batch_size, sequence_length, hidden_dim\n"
            "        )\n"
        ),
    ),
]
