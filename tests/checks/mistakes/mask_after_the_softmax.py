"""EvaAttention applies the mask after the softmax: the shares of the keys that are
left do not add up to 1.

https://github.com/huggingface/pytorch-image-models/pull/2236
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, T, D, HEADS = 3, 10, 16, 4


class EvaAttention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads, self.scale = num_heads, (dim // num_heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, attn_mask):
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attn = (q * self.scale) @ k.transpose(-2, -1)
        attn = attn.softmax(dim=-1)
        attn = attn.masked_fill(~attn_mask[:, None, None, :], 0.0)
        x = (attn @ v).transpose(1, 2).reshape(b, n, c)
        return self.proj(x)


class Eva(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(12, D)
        self.norm, self.attn = nn.LayerNorm(D), EvaAttention(D, HEADS)
        self.head = nn.Linear(D, 10)

    def forward(self, patches, attn_mask):
        x = self.embed(patches)
        x = x + self.attn(self.norm(x), attn_mask)
        return self.head(x[:, 0])


def build():
    return Eva()


def step(model):
    optimizer = torch.optim.AdamW(model.parameters())
    lengths = torch.randint(3, T, (B,))
    mask = torch.arange(T)[None] < lengths[:, None]
    loss = F.cross_entropy(
        model(torch.randn(B, T, 12), mask), torch.randint(0, 10, (B,))
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, T, D, HEADS = 16, 16, 16, 4"
CULPRITS = ["attn", "function:masked_fill", "function:softmax"]
MENDED = [
    (
        "        attn = (q * self.scale) @ k.transpose(-2, -1)\n",
        (
            "        attn = (q * self.scale) @ k.transpose(-2, -1)\n"
            '        attn = attn.masked_fill(~attn_mask[:, None, None, :], float("-inf"))\n'  # noqa: E501
        ),
    ),
    ("        attn = attn.masked_fill(~attn_mask[:, None, None, :], 0.0)\n", ""),
]
