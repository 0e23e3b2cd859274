import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Lightning-AI/litgpt/issues/1906'
CATEGORY = 'correct'
DESCRIPTION = 'A small GPT with grouped queries and rotary positions: the attention output goes back to one vector a token.'


class Config:
    n_layer, n_embd, n_head, n_query_groups = 2, 32, 8, 2
    head_size, block_size, padded_vocab_size, rope_n_elem = 4, 8, 40, 4


def build_rope_cache(seq_len, n_elem, base=10000):
    theta = 1.0 / (base ** (torch.arange(0, n_elem, 2).float() / n_elem))
    idx_theta = torch.outer(torch.arange(seq_len), theta).repeat(1, 2)
    return torch.cos(idx_theta), torch.sin(idx_theta)


def apply_rope(x, cos, sin):
    half = x.size(-1) // 2
    rotated = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + rotated * sin


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        shape = (config.n_head + 2 * config.n_query_groups) * config.head_size
        self.attn = nn.Linear(config.n_embd, shape, bias=False)
        self.proj = nn.Linear(config.head_size * config.n_head, config.n_embd, bias=False)

    def forward(self, x, cos, sin):
        B, T, C = x.size()
        qkv = self.attn(x)
        q_per_kv = self.config.n_head // self.config.n_query_groups
        total_qkv = q_per_kv + 2
        qkv = qkv.view(B, T, self.config.n_query_groups, total_qkv, self.config.head_size)
        qkv = qkv.permute(0, 2, 3, 1, 4)
        q, k, v = qkv.split((q_per_kv, 1, 1), dim=2)
        k = k.expand(B, self.config.n_query_groups, q_per_kv, T, self.config.head_size)
        v = v.expand(B, self.config.n_query_groups, q_per_kv, T, self.config.head_size)
        q = q.reshape(B, -1, T, self.config.head_size)
        k = k.reshape(B, -1, T, self.config.head_size)
        v = v.reshape(B, -1, T, self.config.head_size)
        q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        y = self.scaled_dot_product_attention(q, k, v)
        y = y.reshape(B, T, self.config.head_size * self.config.n_head)
        return self.proj(y)

    def scaled_dot_product_attention(self, q, k, v):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2)


class LLaMAMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc_1, self.fc_2 = [nn.Linear(config.n_embd, 64, bias=False) for _ in range(2)]
        self.proj = nn.Linear(64, config.n_embd, bias=False)

    def forward(self, x):
        return self.proj(F.silu(self.fc_1(x)) * self.fc_2(x))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(config.n_embd), nn.LayerNorm(config.n_embd)
        self.attn, self.mlp = CausalSelfAttention(config), LLaMAMLP(config)

    def forward(self, x, cos, sin):
        x = self.attn(self.norm_1(x), cos, sin) + x
        return self.mlp(self.norm_2(x)) + x


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.lm_head = nn.Linear(config.n_embd, config.padded_vocab_size, bias=False)
        self.transformer = nn.ModuleDict(dict(wte=nn.Embedding(config.padded_vocab_size, config.n_embd),
                                              h=nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                                              ln_f=nn.LayerNorm(config.n_embd)))
        cos, sin = build_rope_cache(config.block_size, config.rope_n_elem)
        self.register_buffer('cos', cos)
        self.register_buffer('sin', sin)

    def forward(self, idx):
        T = idx.size(1)
        x = self.transformer.wte(idx)
        for block in self.transformer.h:
            x = block(x, self.cos[:T], self.sin[:T])
        return self.lm_head(self.transformer.ln_f(x))


def build():
    return GPT(Config())


def step(model):
    tokens = torch.randint(0, 40, (8, 9))
    logits = model(tokens[:, :-1])
    return F.cross_entropy(logits.reshape(-1, 40), tokens[:, 1:].reshape(-1))


# heads and time are eight both; the reshape looks as if a transpose were missing, but it stands in the helper, as the
# asker found himself
TRUTH = dict(raises=None, culprits=[])
MENDED = []
