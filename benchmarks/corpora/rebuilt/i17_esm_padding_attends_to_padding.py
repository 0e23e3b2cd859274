import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Biohub/esm/issues/299'
CATEGORY = 'correct'
DESCRIPTION = 'Protein language model: the mask is seq_id[:, :, None] == seq_id[:, None, :], so padding attends to padding; residues never see it and the loss ignores it.'

PAD, MASK, VOCAB = 1, 2, 24


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


class RotaryEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer('inv_freq', 1.0 / 10000 ** (torch.arange(0, dim, 2).float() / dim))

    def forward(self, q, k):
        # (b, l, h, d)
        angle = torch.outer(torch.arange(q.shape[1]).float(), self.inv_freq)
        angle = torch.cat([angle, angle], dim=-1)[None, :, None, :]
        return q * angle.cos() + rotate_half(q) * angle.sin(), k * angle.cos() + rotate_half(k) * angle.sin()


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.layernorm_qkv = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, 3 * d_model, bias=False))
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        self.q_ln, self.k_ln = nn.LayerNorm(d_model, bias=False), nn.LayerNorm(d_model, bias=False)
        self.rotary = RotaryEmbedding(self.d_head)

    def forward(self, x, seq_id):
        B, L, D = x.shape
        q, k, v = self.layernorm_qkv(x).chunk(3, dim=-1)
        q, k = self.q_ln(q).unflatten(-1, (self.n_heads, -1)), self.k_ln(k).unflatten(-1, (self.n_heads, -1))
        q, k = self.rotary(q, k)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.view(B, L, self.n_heads, -1).transpose(1, 2)
        mask_BLL = seq_id.unsqueeze(-1) == seq_id.unsqueeze(-2)
        context = F.scaled_dot_product_attention(q, k, v, mask_BLL.unsqueeze(1))
        return self.out_proj(context.transpose(1, 2).reshape(B, L, D))


class SwiGLU(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, dim=-1)
        return F.silu(a) * b


class UnifiedTransformerBlock(nn.Module):
    def __init__(self, d_model, n_heads, residue_scaling_factor):
        super().__init__()
        self.attn = MultiHeadAttention(d_model, n_heads)
        self.ffn = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, 4 * d_model, bias=False), SwiGLU(),
                                 nn.Linear(2 * d_model, d_model, bias=False))
        self.scaling_factor = residue_scaling_factor

    def forward(self, x, seq_id):
        x = x + self.attn(x, seq_id) / self.scaling_factor
        return x + self.ffn(x) / self.scaling_factor


class ESMC(nn.Module):
    def __init__(self, d_model=32, n_heads=4, n_layers=3):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d_model)
        self.blocks = nn.ModuleList(UnifiedTransformerBlock(d_model, n_heads, math.sqrt(n_layers / 36)) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model, bias=False)
        self.sequence_head = nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.LayerNorm(d_model), nn.Linear(d_model, VOCAB))

    def forward(self, sequence_tokens):
        sequence_id = sequence_tokens != PAD
        x = self.embed(sequence_tokens)
        for block in self.blocks:
            x = block(x, sequence_id)
        return self.sequence_head(self.norm(x))


def build():
    return ESMC()


def step(model):
    tokens = torch.randint(4, VOCAB, (4, 20))
    for i, length in enumerate((20, 17, 12, 9)):
        tokens[i, length:] = PAD
    chosen = (torch.rand(4, 20) < 0.3) & (tokens != PAD)
    chosen[:, 0] = True
    labels = tokens.masked_fill(~chosen, -100)
    logits = model(tokens.masked_fill(chosen, MASK))
    loss = F.cross_entropy(logits.view(-1, VOCAB), labels.view(-1), ignore_index=-100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
