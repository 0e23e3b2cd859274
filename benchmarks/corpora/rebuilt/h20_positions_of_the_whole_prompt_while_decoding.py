import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/unslothai/unsloth/issues/4740'
CATEGORY = 'layer'
DESCRIPTION = 'Fast decoding with a key/value cache: one token goes in, but the new generation loop hands over position_ids of the whole sequence, so cos and sin have one row a position. Positions are to be cut to the last.'


class Config:
    vocab_size, hidden_size, n_heads, n_kv_heads, n_layers, max_positions = 60, 32, 4, 2, 2, 64
    head_dim = hidden_size // n_heads


class RMSNorm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class RotaryEmbedding(nn.Module):
    def __init__(self, config):
        super().__init__()
        inv = 1.0 / 10000 ** (torch.arange(0, config.head_dim, 2) / config.head_dim)
        freqs = torch.outer(torch.arange(config.max_positions), inv)
        emb = torch.cat([freqs, freqs], dim=-1)
        self.register_buffer('cos_cached', emb.cos())
        self.register_buffer('sin_cached', emb.sin())

    def get_cached(self, seq_len):
        return self.cos_cached, self.sin_cached


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c = config
        self.q_proj = nn.Linear(config.hidden_size, config.n_heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.n_kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.n_kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.n_heads * config.head_dim, config.hidden_size, bias=False)
        self.q_norm, self.k_norm = RMSNorm(config.head_dim), RMSNorm(config.head_dim)
        self.rotary_emb = RotaryEmbedding(config)

    def project(self, X):
        bsz, q_len, _ = X.shape
        Qn = self.q_norm(self.q_proj(X).view(bsz, q_len, self.c.n_heads, -1)).transpose(1, 2)
        Kn = self.k_norm(self.k_proj(X).view(bsz, q_len, self.c.n_kv_heads, -1)).transpose(1, 2)
        Vn = self.v_proj(X).view(bsz, q_len, self.c.n_kv_heads, -1).transpose(1, 2)
        return Qn, Kn, Vn

    def attend(self, Q, K, V, mask=None):
        K, V = (t.repeat_interleave(self.c.n_heads // self.c.n_kv_heads, dim=1) for t in (K, V))
        A = Q @ K.transpose(2, 3) / math.sqrt(self.c.head_dim)
        if mask is not None:
            A = A + mask
        return self.o_proj((A.softmax(-1) @ V).transpose(1, 2).flatten(2))

    def forward(self, X, position_ids):
        Qn, Kn, Vn = self.project(X)
        cos, sin = (t[position_ids].unsqueeze(1) for t in self.rotary_emb.get_cached(X.shape[1]))
        Qn, Kn = Qn * cos + rotate_half(Qn) * sin, Kn * cos + rotate_half(Kn) * sin
        mask = torch.full((X.shape[1], X.shape[1]), float('-inf')).triu(1)
        return self.attend(Qn, Kn, Vn, mask), (Kn, Vn)

    def fast_forward_inference(self, X, past_key_value, position_ids):
        K1, V1 = past_key_value
        Qn, Kn, Vn = self.project(X)
        cos, sin = self.rotary_emb.get_cached(K1.shape[-2] + 1)
        cos = cos[position_ids].unsqueeze(1)
        sin = sin[position_ids].unsqueeze(1)
        RH_Q, RH_K = rotate_half(Qn), rotate_half(Kn)
        Qn *= cos
        Qn += RH_Q * sin
        Kn *= cos
        Kn += RH_K * sin
        return self.attend(Qn, torch.cat([K1, Kn], dim=2), torch.cat([V1, Vn], dim=2))


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, 64), nn.SiLU(), nn.Linear(64, config.hidden_size))


class CausalLM(nn.Module):
    def __init__(self, config=Config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.n_layers)])
        self.norm = RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids, position_ids, past_key_values=None):
        X, cache = self.embed_tokens(input_ids), []
        for i, layer in enumerate(self.layers):
            h = layer.input_layernorm(X)
            if past_key_values is None:
                h, kv = layer.self_attn(h, position_ids)
                cache.append(kv)
            else:
                h = layer.self_attn.fast_forward_inference(h, past_key_values[i], position_ids)
            X = X + h
            X = X + layer.mlp(layer.post_attention_layernorm(X))
        return self.lm_head(self.norm(X)), cache


def prepare_inputs(input_ids, attention_mask, past_key_values):
    position_ids = attention_mask.long().cumsum(-1) - 1
    if past_key_values is not None:
        input_ids = input_ids[:, -1:]
    return dict(input_ids=input_ids, position_ids=position_ids, past_key_values=past_key_values)


def build():
    torch.manual_seed(0)
    return CausalLM()


def step(model):
    input_ids = torch.tensor([[5, 17, 40]])
    attention_mask = torch.ones_like(input_ids)
    logits, past = model(**prepare_inputs(input_ids, attention_mask, None))
    input_ids = torch.cat([input_ids, logits[:, -1:].argmax(-1)], dim=1)
    attention_mask = torch.ones_like(input_ids)
    logits, _ = model(**prepare_inputs(input_ids, attention_mask, past))
    return F.cross_entropy(logits[:, -1], torch.tensor([9]))


TRUTH = dict(raises='RuntimeError', at='function:mul_', culprits=['function:getitem', 'function:cumsum', 'function:sub', '', 'layers.0.self_attn'], dim=2, got=4, wanted=1,
             hint_any=['position', '-1:', 'last', 'broadcast'])
MENDED = [('        input_ids = input_ids[:, -1:]\n', '        input_ids = input_ids[:, -1:]\n        position_ids = position_ids[:, -1:]\n')]
