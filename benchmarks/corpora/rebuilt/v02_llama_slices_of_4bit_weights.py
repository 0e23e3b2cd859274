import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/bitsandbytes-foundation/bitsandbytes/issues/610 (and https://github.com/huggingface/transformers/issues/25137)'
CATEGORY = 'layer'
DESCRIPTION = 'Llama with pretraining_tp > 1 slices q_proj.weight itself, but a 4-bit layer keeps its weight packed as (numel / 8, 1).'

NF4 = torch.tensor([-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
                    0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0])


class Linear4bit(nn.Linear):
    """Two 4-bit codes in a byte, four bytes in a float32 (quant_storage)."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features, bias=False)

    def quantize(self):
        w = self.weight.data
        self.quant_shape, self.absmax = w.shape, w.abs().max()
        codes = ((w / self.absmax).reshape(-1, 1) - NF4).abs().argmin(1).to(torch.uint8)
        packed = codes[0::2] * 16 + codes[1::2]
        self.weight = nn.Parameter(packed.view(torch.float32)[:, None], requires_grad=False)
        return self

    def forward(self, x):
        packed = self.weight.data.flatten().view(torch.uint8).long()
        codes = torch.stack([packed // 16, packed % 16], -1).flatten()
        return F.linear(x, (NF4[codes] * self.absmax).reshape(self.quant_shape))


@dataclass
class LlamaConfig:
    vocab_size: int = 90
    hidden_size: int = 64
    intermediate_size: int = 96
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    pretraining_tp: int = 2


class LlamaAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.hidden_size, self.num_heads = config.hidden_size, config.num_attention_heads
        self.head_dim, self.pretraining_tp = self.hidden_size // self.num_heads, config.pretraining_tp
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (Linear4bit(self.hidden_size, self.hidden_size) for _ in range(4))

    def forward(self, hidden_states):
        bsz, q_len, _ = hidden_states.size()
        if self.pretraining_tp > 1:
            slicing = (self.num_heads * self.head_dim) // self.pretraining_tp

            def project(layer):
                slices = layer.weight.split(slicing, dim=0)
                return torch.cat([F.linear(hidden_states, slices[i]) for i in range(self.pretraining_tp)], dim=-1)

            query, key, value = project(self.q_proj), project(self.k_proj), project(self.v_proj)
        else:
            query, key, value = self.q_proj(hidden_states), self.k_proj(hidden_states), self.v_proj(hidden_states)
        query, key, value = (t.view(bsz, q_len, self.num_heads, self.head_dim).transpose(1, 2) for t in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(self.head_dim)
        causal = torch.full((q_len, q_len), float('-inf')).triu(1)
        out = (scores + causal).softmax(-1) @ value
        return self.o_proj(out.transpose(1, 2).reshape(bsz, q_len, self.hidden_size))


class LlamaDecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = LlamaAttention(config)
        self.up_proj = Linear4bit(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear4bit(config.intermediate_size, config.hidden_size)
        self.input_layernorm, self.post_attention_layernorm = nn.LayerNorm(config.hidden_size), nn.LayerNorm(config.hidden_size)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.down_proj(F.silu(self.up_proj(self.post_attention_layernorm(x))))


class LlamaForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaDecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def from_pretrained(config, load_in_4bit=True):
    model = LlamaForCausalLM(config)
    if load_in_4bit:
        for module in model.modules():
            if isinstance(module, Linear4bit):
                module.quantize()
    return model


def build():
    return from_pretrained(LlamaConfig())


def step(model):
    ids = torch.randint(0, 90, (2, 14))
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.reshape(-1, 90), ids[:, 1:].reshape(-1))


# real fix: pretraining_tp = 1, so that the layer itself is called and unpacks its weight
# offending tensor: a slice (32, 1) of the packed weight (512, 1), where (32, 64) is needed
TRUTH = dict(raises='RuntimeError', at='function:linear',
             culprits=['function:split', 'function:linear', 'layers.0.self_attn', 'layers.0.self_attn.q_proj'], dim=1, got=1, wanted=64,
             hint_any=['weight', 'split', 'packed'])
MENDED = [('pretraining_tp: int = 2', 'pretraining_tp: int = 1')]
