import math
from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/invoke-ai/InvokeAI/pull/7954'
CATEGORY = 'layer'
DESCRIPTION = 'LoRA for a fused q/k/v projection is put together from three adapters of rank 4: the downs are joined over the rank (12), the ups over the outputs (rank stays 4).'


@dataclass
class LoraSettings:
    rank: int = 4
    alpha: float = 8.0
    dropout: float = 0.05
    targets: tuple = ('qkv', 'proj')


@dataclass
class ModelParams:
    hidden_size: int = 48
    num_heads: int = 4
    depth: int = 2
    vocab: int = 120
    context: int = 32
    lora: LoraSettings = field(default_factory=LoraSettings)


class LoraLinear(nn.Module):
    def __init__(self, base, down, up, alpha, rank, dropout):
        super().__init__()
        self.base = base
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.lora_down = nn.Parameter(down)
        self.lora_up = nn.Parameter(up)
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        weight = self.lora_up @ self.lora_down
        return self.base(x) + F.linear(self.dropout(x), weight) * self.scale


class SelfAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, t, d = x.shape
        qkv = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(*qkv.unbind(0), is_causal=True)
        return self.proj(out.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(p.hidden_size), nn.LayerNorm(p.hidden_size)
        self.attn = SelfAttention(p.hidden_size, p.num_heads)
        self.mlp = nn.Sequential(nn.Linear(p.hidden_size, 4 * p.hidden_size), nn.GELU(), nn.Linear(4 * p.hidden_size, p.hidden_size))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class LM(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.tok, self.pos = nn.Embedding(p.vocab, p.hidden_size), nn.Embedding(p.context, p.hidden_size)
        self.blocks = nn.ModuleList(Block(p) for _ in range(p.depth))
        self.norm, self.head = nn.LayerNorm(p.hidden_size), nn.Linear(p.hidden_size, p.vocab, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def fake_diffusers_state(dim, rank, depth):
    """One adapter for each of to_q, to_k, to_v, as another trainer saves them."""
    return {f'blocks.{i}.attn.{n}.{part}': (torch.randn(rank, dim) / math.sqrt(dim) if part == 'down' else torch.randn(dim, rank) * 0.02)
            for i in range(depth) for n in ('to_q', 'to_k', 'to_v', 'to_out') for part in ('down', 'up')}


def fuse(state, prefix, names):
    downs = [state[f'{prefix}.{n}.down'] for n in names]
    ups = [state[f'{prefix}.{n}.up'] for n in names]
    return torch.cat(downs, dim=0), torch.cat(ups, dim=0)


def apply_lora(model, state, s):
    for i, block in enumerate(model.blocks):
        down, up = fuse(state, f'blocks.{i}.attn', ('to_q', 'to_k', 'to_v'))
        if 'qkv' in s.targets:
            block.attn.qkv = LoraLinear(block.attn.qkv, down, up, s.alpha, s.rank, s.dropout)
        down, up = fuse(state, f'blocks.{i}.attn', ('to_out',))
        if 'proj' in s.targets:
            block.attn.proj = LoraLinear(block.attn.proj, down, up, s.alpha, s.rank, s.dropout)
    return model


def build():
    p = ModelParams()
    return apply_lora(LM(p), fake_diffusers_state(p.hidden_size, p.lora.rank, p.depth), p.lora)


def step(model):
    ids = torch.randint(0, 120, (4, 20))
    return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())


# real fix: the ups belong on the diagonal of a block matrix (3*dim, 3*rank); the pull request builds that matrix for adapters of unlike rank
# offending tensor: lora_up (144, 4) against lora_down (12, 48)
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['blocks.0.attn.qkv', 'blocks.0.attn.qkv.lora_up', 'blocks.0.attn.qkv.lora_down', 'function:cat'],
             dim=1, got=4, wanted=12, hint_any=['lora_up', 'lora_down', 'rank', 'block_diag'])
MENDED = [('torch.cat(downs, dim=0), torch.cat(ups, dim=0)', 'torch.cat(downs, dim=0), torch.block_diag(*ups)')]
