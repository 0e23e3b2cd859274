from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Lightning-AI/litgpt/issues/2178'
CATEGORY = 'layer'
DESCRIPTION = 'Key/value cache: its width is taken from cos.size(-1), but with a local and a global rope base cos is (T, n_elem, 2).'


@dataclass
class Config:
    padded_vocab_size: int = 96
    block_size: int = 32
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 32
    head_size: int = 8
    rope_n_elem: int = 8
    rope_base: int = 1000000
    rope_local_base_freq: int = 10000


def build_rope_cache(seq_len, n_elem, bases):
    parts = []
    for base in bases:
        theta = 1.0 / base ** (torch.arange(0, n_elem, 2).float() / n_elem)
        idx = torch.outer(torch.arange(seq_len).float(), theta).repeat(1, 2)
        parts.append(idx)
    idx = torch.stack(parts, dim=-1) if len(parts) > 1 else parts[0]
    return torch.cos(idx), torch.sin(idx)


def apply_rope(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class KVCache(nn.Module):
    def __init__(self, k_shape, v_shape):
        super().__init__()
        self.register_buffer('k', torch.zeros(k_shape), persistent=False)
        self.register_buffer('v', torch.zeros(v_shape), persistent=False)

    def forward(self, pos, k, v):
        return self.k.index_copy(2, pos, k), self.v.index_copy(2, pos, v)


class Attention(nn.Module):
    def __init__(self, c, local):
        super().__init__()
        self.c, self.local = c, local
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_head * c.head_size, bias=False)
        self.proj = nn.Linear(c.n_head * c.head_size, c.n_embd, bias=False)
        self.kv_cache = None

    def build_kv_cache(self, batch, length, rope_cache_length):
        c = self.c
        v_shape = (batch, c.n_head, length, c.head_size)
        k_shape = (batch, c.n_head, length, rope_cache_length + c.head_size - c.rope_n_elem)
        self.kv_cache = KVCache(k_shape, v_shape)

    def forward(self, x, cos, sin, pos):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.c.n_head, -1).permute(2, 0, 3, 1, 4)
        q, k = apply_rope(q, cos[..., self.local], sin[..., self.local]), apply_rope(k, cos[..., self.local], sin[..., self.local])
        k, v = self.kv_cache(pos, k, v)
        mask = torch.arange(k.size(2)) <= pos.unsqueeze(1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(y.transpose(1, 2).reshape(b, t, -1))


class GPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.wte = nn.Embedding(c.padded_vocab_size, c.n_embd)
        self.h = nn.ModuleList([nn.ModuleDict(dict(norm=nn.LayerNorm(c.n_embd), attn=Attention(c, i % 2))) for i in range(c.n_layer)])
        self.lm_head = nn.Linear(c.n_embd, c.padded_vocab_size)
        cos, sin = build_rope_cache(c.block_size, c.rope_n_elem, (c.rope_base, c.rope_local_base_freq))
        self.register_buffer('cos', cos)
        self.register_buffer('sin', sin)

    def set_kv_cache(self, batch):
        rope_cache_length = self.cos.size(-1)
        for block in self.h:
            block['attn'].build_kv_cache(batch, self.c.block_size, rope_cache_length)

    def forward(self, idx, pos):
        x = self.wte(idx)
        for block in self.h:
            x = x + block['attn'](block['norm'](x), self.cos[pos], self.sin[pos], pos)
        return self.lm_head(x)


def build():
    model = GPT(Config())
    model.set_kv_cache(2)
    return model


def step(model):
    idx = torch.randint(0, 96, (2, 13))
    logits = model(idx[:, :-1], torch.arange(12))
    return F.cross_entropy(logits.flatten(0, 1), idx[:, 1:].flatten())


# real fix: take the width of the rotated part from the dimension before the last where two bases are stacked, self.cos.size(1)
# offending tensor: kv_cache.k (2, 4, 32, 2), last size 8 expected
TRUTH = dict(raises='RuntimeError', at='function:index_copy', culprits=['h.0.attn.kv_cache', 'h.0.attn', ''], dim=3, got=2, wanted=8,
             hint_any=['cache', 'rope', 'cos', 'buffer', 'head'])
MENDED = [('self.cos.size(-1)', 'self.cos.size(1)')]
