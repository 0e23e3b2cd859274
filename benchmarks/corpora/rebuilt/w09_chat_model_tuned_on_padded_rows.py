from dataclasses import dataclass

import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ml-explore/mlx-lm/pull/1903 (written for torch here; left-padded rows as in its batched generation)'
CATEGORY = 'silent'
DESCRIPTION = 'Gemma-like chat model with grouped queries and soft-capped scores is tuned on four rows that are padded on the left.'


@dataclass
class ModelArgs:
    hidden_size: int = 48
    num_hidden_layers: int = 2
    intermediate_size: int = 96
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 8
    vocab_size: int = 90
    query_pre_attn_scalar: float = 8.0
    attn_logit_softcapping: float = 50.0
    final_logit_softcapping: float = 30.0


def create_causal_mask(n, left_padding):
    index = torch.arange(n)
    mask = index[:, None] >= index[None]
    mask = mask & (left_padding[:, None, None, None] <= index)
    return mask | torch.eye(n, dtype=torch.bool)


class RMSNorm(nn.Module):
    def __init__(self, dims, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dims))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight)


class Attention(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.n_heads, self.n_kv_heads = args.num_attention_heads, args.num_key_value_heads
        self.repeats = self.n_heads // self.n_kv_heads
        self.head_dim = args.head_dim
        self.scale = 1.0 / args.query_pre_attn_scalar ** 0.5
        self.attn_logit_softcapping = args.attn_logit_softcapping
        self.q_proj = nn.Linear(args.hidden_size, self.n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(args.hidden_size, self.n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(args.hidden_size, self.n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.n_heads * self.head_dim, args.hidden_size, bias=False)

    def forward(self, x, mask=None):
        b, length, _ = x.shape
        queries = self.q_proj(x).reshape(b, length, self.n_heads, -1).transpose(1, 2) * self.scale
        keys = self.k_proj(x).reshape(b, length, self.n_kv_heads, -1).transpose(1, 2)
        values = self.v_proj(x).reshape(b, length, self.n_kv_heads, -1).transpose(1, 2)

        if self.repeats > 1:
            queries = queries.reshape(b, self.n_kv_heads, self.repeats, length, self.head_dim)
            keys = keys.unsqueeze(2)
            values = values.unsqueeze(2)

        scores = queries @ keys.transpose(-1, -2)
        scores = torch.tanh(scores / self.attn_logit_softcapping) * self.attn_logit_softcapping
        if mask is not None:
            scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        output = scores.softmax(-1) @ values
        if self.repeats > 1:
            output = output.reshape(b, self.n_heads, length, self.head_dim)
        return self.o_proj(output.transpose(1, 2).reshape(b, length, -1))


class MLP(nn.Module):
    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden_dim, bias=False)
        self.up_proj = nn.Linear(dim, hidden_dim, bias=False)
        self.down_proj = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.gelu(self.gate_proj(x)) * self.up_proj(x))


class TransformerBlock(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.self_attn = Attention(args)
        self.mlp = MLP(args.hidden_size, args.intermediate_size)
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(args.hidden_size), RMSNorm(args.hidden_size)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = RMSNorm(args.hidden_size), RMSNorm(args.hidden_size)

    def forward(self, x, mask=None):
        h = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), mask))
        return h + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(h)))


class GemmaModel(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.embed_tokens = nn.Embedding(args.vocab_size, args.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        self.layers = nn.ModuleList([TransformerBlock(args) for _ in range(args.num_hidden_layers)])
        self.norm = RMSNorm(args.hidden_size)

    def forward(self, inputs, left_padding):
        h = self.embed_tokens(inputs) * self.args.hidden_size ** 0.5
        mask = create_causal_mask(inputs.shape[1], left_padding)
        for layer in self.layers:
            h = layer(h, mask)
        out = self.norm(h) @ self.embed_tokens.weight.t()
        return torch.tanh(out / self.args.final_logit_softcapping) * self.args.final_logit_softcapping


def build():
    return GemmaModel(ModelArgs())


def step(model):
    left_padding = torch.tensor([0, 3, 6, 2])
    tokens = torch.randint(1, 90, (4, 13))
    tokens[torch.arange(13) < left_padding[:, None]] = 0
    logits = model(tokens[:, :-1], left_padding)
    labels = tokens[:, 1:].masked_fill(torch.arange(12) < left_padding[:, None], -100)
    return F.cross_entropy(logits.transpose(1, 2), labels)


# the mask is (batch, 1, L, L), the grouped scores are (batch, kv heads, repeats, L, L): with four rows and four kv heads
# the mask of row i is used for kv head i of every row; real fix: mask[:, :, None]
TRUTH = dict(raises=None, at='function:where', culprits=['function:where', 'layers.0.self_attn', 'layers.1.self_attn'], dim=1, got=4, wanted=1,
             hint_any=['mask', 'broadcast', 'unsqueeze', 'head', '5'])
MENDED = [('            scores = torch.where(mask, scores', '            scores = torch.where(mask[:, :, None], scores')]
