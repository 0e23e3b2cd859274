import torch
import torch.nn as nn

SOURCE = 'https://github.com/huggingface/transformers/issues/23081'
CATEGORY = 'layer'
DESCRIPTION = 'GPT-NeoX with a hidden size that the number of heads does not divide: head_size is rounded down, the fused projection still gives 3 * hidden numbers.'


class GPTNeoXConfig:
    def __init__(self, vocab_size=120, hidden_size=64, num_hidden_layers=2, num_attention_heads=6, intermediate_size=128, max_position=32):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.max_position = max_position


class GPTNeoXAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.hidden_size = config.hidden_size
        self.head_size = self.hidden_size // self.num_attention_heads
        self.norm_factor = self.head_size ** 0.5
        self.register_buffer('bias', torch.tril(torch.ones(config.max_position, config.max_position, dtype=torch.bool)))
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states):
        qkv = self.query_key_value(hidden_states)
        new_qkv_shape = qkv.size()[:-1] + (self.num_attention_heads, 3 * self.head_size)
        qkv = qkv.view(*new_qkv_shape)
        query = qkv[..., : self.head_size].permute(0, 2, 1, 3)
        key = qkv[..., self.head_size: 2 * self.head_size].permute(0, 2, 1, 3)
        value = qkv[..., 2 * self.head_size:].permute(0, 2, 1, 3)
        length = query.size(-2)
        scores = torch.matmul(query, key.transpose(-1, -2)) / self.norm_factor
        scores = scores.masked_fill(~self.bias[:length, :length], torch.finfo(scores.dtype).min)
        out = torch.matmul(scores.softmax(-1), value)
        out = out.permute(0, 2, 1, 3).contiguous()
        out = out.view(out.size(0), out.size(1), self.num_attention_heads * self.head_size)
        return self.dense(out)


class GPTNeoXLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size)
        self.attention = GPTNeoXAttention(config)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, config.intermediate_size), nn.GELU(),
                                 nn.Linear(config.intermediate_size, config.hidden_size))

    def forward(self, x):
        return x + self.attention(self.input_layernorm(x)) + self.mlp(self.post_attention_layernorm(x))


class GPTNeoXForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([GPTNeoXLayer(config) for _ in range(config.num_hidden_layers)])
        self.final_layer_norm = nn.LayerNorm(config.hidden_size)
        self.embed_out = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids, labels):
        x = self.embed_in(input_ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.embed_out(self.final_layer_norm(x))
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def build():
    return GPTNeoXForCausalLM(GPTNeoXConfig())


def step(model):
    input_ids = torch.randint(0, 120, (6, 12))
    return model(input_ids, labels=input_ids)


TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'layers.0.attention.query_key_value'], dim=2, got=192, wanted=180,
             hint_any=['divis', 'head', '180', '30', '6'])
MENDED = [('num_attention_heads=6', 'num_attention_heads=8')]
