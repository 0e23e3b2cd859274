"""The output of (batch * heads, time, head_dim) is viewed as (heads, batch, time,
head_dim).

https://github.com/gazelle93/Transformer-Various-Positional-Encoding/issues/1
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D, HEADS = 3, 7, 20, 4


class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))

    def split(self, x):
        b, t, _ = x.shape
        x = x.view(b, t, self.heads, self.head_dim).transpose(1, 2)
        return x.reshape(b * self.heads, t, self.head_dim)

    def forward(self, x):
        b, t, dim = x.shape
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = torch.bmm(q, k.transpose(1, 2)) / self.head_dim**0.5
        output = torch.bmm(scores.softmax(-1), v)
        output = output.view(self.heads, b, t, self.head_dim)
        output = output.permute(1, 2, 0, 3).contiguous().view(b, t, dim)
        return self.o(output)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attn = nn.Embedding(30, D), MultiHeadAttention(D, HEADS)
        self.norm, self.out = nn.LayerNorm(D), nn.Linear(D, 5)

    def forward(self, tokens):
        x = self.embed(tokens)
        return self.out(self.norm(x + self.attn(x)).mean(1))


def build():
    return Encoder()


def step(model):
    optimizer = torch.optim.Adam(model.parameters())
    loss = F.cross_entropy(
        model(torch.randint(0, 30, (B, T))), torch.randint(0, 5, (B,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D, HEADS = 4, 4, 16, 4"
CULPRITS = ["attn", "function:view"]
MENDED = [
    (
        (
            "        output = output.view(self.heads, b, t, self.head_dim)\n"
            "        output = output.permute(1, 2, 0, 3).contiguous().view(b, t, dim)\n"
        ),
        (
            "        output = output.view(b, self.heads, t, self.head_dim)\n"
            "        output = output.permute(0, 2, 1, 3).contiguous().view(b, t, dim)\n"
        ),
    ),
]
