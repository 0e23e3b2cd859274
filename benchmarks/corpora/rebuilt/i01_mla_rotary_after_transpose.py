import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tensorgi/TPA/issues/4'
CATEGORY = 'silent'
DESCRIPTION = 'Multi-head latent attention: q and k are already (B, heads, T, d) when they reach the rotary module, which takes x.shape[1] for the length.'


@dataclass
class GPTConfig:
    vocab_size: int = 64
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 32
    q_lora_rank: int = 16
    kv_lora_rank: int = 12
    qk_nope_head_dim: int = 8
    qk_rope_head_dim: int = 8
    v_head_dim: int = 8


class Rotary(nn.Module):
    def __init__(self, dim, base=10000):
        super().__init__()
        self.register_buffer('inv_freq', 1.0 / base ** (torch.arange(0, dim, 2).float() / dim))
        self.seq_len_cached = None

    def forward(self, x):
        seq_len = x.shape[1]
        if seq_len != self.seq_len_cached:
            self.seq_len_cached = seq_len
            t = torch.arange(seq_len, device=x.device).type_as(self.inv_freq)
            freqs = torch.outer(t, self.inv_freq)
            self.cos_cached, self.sin_cached = freqs.cos(), freqs.sin()
        return self.cos_cached[None, :, None, :], self.sin_cached[None, :, None, :]


def apply_rotary_emb(x, cos, sin):
    assert x.ndim == 4
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat([x1 * cos + x2 * sin, x2 * cos - x1 * sin], dim=-1)


class LatentAttention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.q_head_dim = cfg.qk_nope_head_dim + cfg.qk_rope_head_dim
        self.q_a_proj = nn.Linear(cfg.n_embd, cfg.q_lora_rank, bias=False)
        self.q_b_proj = nn.Linear(cfg.q_lora_rank, cfg.n_head * self.q_head_dim, bias=False)
        self.kv_a_proj = nn.Linear(cfg.n_embd, cfg.kv_lora_rank + cfg.qk_rope_head_dim, bias=False)
        self.kv_b_proj = nn.Linear(cfg.kv_lora_rank, cfg.n_head * (cfg.qk_nope_head_dim + cfg.v_head_dim), bias=False)
        self.c_proj = nn.Linear(cfg.n_head * cfg.v_head_dim, cfg.n_embd, bias=False)
        self.rotary = Rotary(cfg.qk_rope_head_dim)

    def forward(self, x):
        cfg = self.cfg
        B, T, _ = x.size()
        q = self.q_b_proj(self.q_a_proj(x)).view(B, T, cfg.n_head, self.q_head_dim).transpose(1, 2)
        q_nope, q_pe = q.split([cfg.qk_nope_head_dim, cfg.qk_rope_head_dim], dim=-1)
        latent, k_pe = self.kv_a_proj(x).split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], dim=-1)
        k_pe = k_pe.view(B, T, 1, cfg.qk_rope_head_dim).transpose(1, 2)
        kv = self.kv_b_proj(latent).view(B, T, cfg.n_head, -1).transpose(1, 2)
        k_nope, v = kv.split([cfg.qk_nope_head_dim, cfg.v_head_dim], dim=-1)

        q_pe = apply_rotary_emb(q_pe, *self.rotary(q_pe))
        k_pe = apply_rotary_emb(k_pe, *self.rotary(k_pe))
        q = torch.cat([q_nope, q_pe], dim=-1)
        k = torch.cat([k_nope, k_pe.expand(-1, cfg.n_head, -1, -1)], dim=-1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1 / math.sqrt(self.q_head_dim))
        return self.c_proj(y.transpose(1, 2).reshape(B, T, -1))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.attn = LatentAttention(cfg)
        self.mlp = nn.Sequential(nn.Linear(cfg.n_embd, 4 * cfg.n_embd), nn.SiLU(), nn.Linear(4 * cfg.n_embd, cfg.n_embd))

    def forward(self, x):
        x = x + self.attn(F.rms_norm(x, (x.size(-1),)))
        return x + self.mlp(F.rms_norm(x, (x.size(-1),)))


class GPT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)
        self.h = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layer))
        self.lm_head = nn.Linear(cfg.n_embd, cfg.vocab_size, bias=False)

    def forward(self, idx, targets):
        x = self.wte(idx)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(F.rms_norm(x, (x.size(-1),)))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


def build():
    return GPT(GPTConfig())


def step(model):
    data = torch.randint(0, 64, (4, 17))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = model(data[:, :-1], data[:, 1:].contiguous())
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: rotary before the transpose (there dim 1 is the length); heads are rotated by their number, k_pe (one head) not at all
TRUTH = dict(raises=None, at='function:mul',
             culprits=['h.0.attn.rotary', 'h.1.attn.rotary', 'function:transpose', 'function:mul', 'function:getitem'],
             dim=1, got=4, wanted=16, hint_any=['rotary', 'transpose', 'heads', 'position', 'shape[1]', 'seq'])
MENDED = [('seq_len = x.shape[1]', 'seq_len = x.shape[2]'),
          ('self.cos_cached[None, :, None, :], self.sin_cached[None, :, None, :]', 'self.cos_cached[None, None], self.sin_cached[None, None]')]
