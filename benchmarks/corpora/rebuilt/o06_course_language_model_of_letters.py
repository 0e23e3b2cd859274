import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cmu-l3/anlp-fall2025-code/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Course notebook on transformers: a decoder-only model of characters with learned positions, trained on eight names at a time.'


class Attention(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (t.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(D // self.n_heads)
        causal = torch.tril(torch.ones(T, T, device=x.device)).bool()
        scores = scores.masked_fill(~causal, float('-inf'))
        out = scores.softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, n_heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TransformerLM(nn.Module):
    def __init__(self, vocab_size=30, dim=32, n_heads=4, n_layers=2, max_len=64):
        super().__init__()
        self.tok_emb = nn.Embedding(vocab_size, dim)
        self.pos_emb = nn.Embedding(max_len, dim)
        self.blocks = nn.ModuleList([Block(dim, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab_size)

    def forward(self, x):
        pos = torch.arange(x.size(0), device=x.device).unsqueeze(1)
        h = self.tok_emb(x) + self.pos_emb(pos)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def get_batch(batch_size=8, length=9):
    data = torch.randint(1, 30, (batch_size, length))
    return data[:, :-1], data[:, 1:]


def build():
    return TransformerLM()


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(2):
        x, y = get_batch()
        logits = model(x)
        loss = F.cross_entropy(logits.reshape(-1, logits.size(-1)), y.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# x is (batch, time): the positions count the samples of the batch, all tokens of a sample get the same one.
# real fix: torch.arange(x.size(1)).unsqueeze(0)
TRUTH = dict(raises=None, at='function:add', culprits=['function:arange', 'function:unsqueeze', 'pos_emb'], dim=1, got=1, wanted=8,
             hint_any=['position', 'size(1)', 'batch', 'same', 'broadcast', 'unsqueeze(0)'])
MENDED = [('torch.arange(x.size(0), device=x.device).unsqueeze(1)', 'torch.arange(x.size(1), device=x.device).unsqueeze(0)')]
