from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ByteDance-Seed/VeOmni/pull/162'
CATEGORY = 'layer'
DESCRIPTION = 'Grouped-query attention: repeat_kv, written for (batch, heads, seq, dim), gets keys in flash layout (batch, seq, heads, dim) and repeats the positions.'


def repeat_kv(hidden_states, n_rep):
    batch, num_key_value_heads, slen, head_dim = hidden_states.shape
    if n_rep == 1:
        return hidden_states
    hidden_states = hidden_states[:, :, None, :, :].expand(batch, num_key_value_heads, n_rep, slen, head_dim)
    return hidden_states.reshape(batch, num_key_value_heads * n_rep, slen, head_dim)


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def rope(x, base=10000.):
    seq, dim = x.shape[1], x.shape[-1]
    inv = 1. / base ** (torch.arange(0, dim, 2).float() / dim)
    angles = torch.outer(torch.arange(seq).float(), inv)
    angles = torch.cat((angles, angles), -1)[None, :, None]
    return x * angles.cos() + rotate_half(x) * angles.sin()


def flash_attention_forward(module, query, key, value, ulysses_size):
    kv_head_num = key.shape[2]
    if ulysses_size > kv_head_num:
        assert ulysses_size % kv_head_num == 0
        n_repeat = ulysses_size // kv_head_num
        key = repeat_kv(key, n_repeat)
        value = repeat_kv(value, n_repeat)
    groups = module.num_heads // max(ulysses_size, kv_head_num)
    q, k, v = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return out.transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.ulysses_size = config.ulysses_size
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.num_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = self.q_proj(x).view(shape), self.k_proj(x).view(shape), self.v_proj(x).view(shape)
        out = flash_attention_forward(self, rope(q), rope(k), v, self.ulysses_size)
        return self.o_proj(out.reshape(*x.shape[:-1], -1))


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, 64), nn.SiLU(), nn.Linear(64, config.hidden_size))

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class CausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids, labels):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.lm_head(x)
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def build():
    return CausalLM(SimpleNamespace(vocab_size=70, hidden_size=32, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2, head_dim=4, ulysses_size=4))


def step(model):
    ids = torch.randint(0, 70, (4, 8))
    return model(ids, ids)


# real fix: torch.repeat_interleave(key, dim=2, repeats=n_repeat) (and value): the keys here are (batch, seq, heads, dim)
# queries (4, 8, 8, 4); keys (4, 4, 16, 4) after all: two kv heads * 2 groups, 8 * 2 positions
TRUTH = dict(raises='RuntimeError', at='function:scaled_dot_product_attention', culprits=['function:reshape', 'function:expand', 'function:getitem'],
             dim=1, got=4, wanted=8, hint_any=['repeat', 'expand', 'heads', 'reshape', 'transpose', 'dim 2'])
MENDED = [('key = repeat_kv(key, n_repeat)', 'key = torch.repeat_interleave(key, dim=2, repeats=n_repeat)'),
          ('value = repeat_kv(value, n_repeat)', 'value = torch.repeat_interleave(value, dim=2, repeats=n_repeat)')]
