import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/adapter-hub/adapters/issues/819'
CATEGORY = 'layer'
DESCRIPTION = 'Prefix tuning for a model with grouped queries: prefix keys and values are made for the 8 attention heads, the key/value states have 2.'


class LlamaConfig:
    vocab_size, hidden_size, intermediate_size = 120, 64, 96
    num_hidden_layers, num_attention_heads, num_key_value_heads = 2, 8, 2
    max_position_embeddings = 64


class PrefixTuningConfig:
    prefix_length = 12
    bottleneck_size = 24
    flat, dropout = False, 0.0


class PrefixTuning(nn.Module):
    def __init__(self, n_layers, n_heads, n_embd_per_head, config):
        super().__init__()
        self.n_layers, self.n_heads, self.n_embd_per_head = n_layers, n_heads, n_embd_per_head
        self.prefix_length = config.prefix_length
        input_size = n_heads * n_embd_per_head
        self.wte = nn.Embedding(config.prefix_length, input_size)
        self.control_trans = nn.Sequential(nn.Linear(input_size, config.bottleneck_size), nn.Tanh(),
                                           nn.Linear(config.bottleneck_size, n_layers * 2 * input_size))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch_size):
        input_tokens = torch.arange(self.prefix_length).unsqueeze(0).expand(batch_size, -1)
        key_values = self.control_trans(self.wte(input_tokens))
        key_values = key_values.view(batch_size, self.prefix_length, self.n_layers * 2, self.n_heads, self.n_embd_per_head)
        return self.dropout(key_values).permute(2, 0, 3, 1, 4).split(2)


def repeat_kv(x, n_rep):
    b, h, t, d = x.shape
    return x[:, :, None].expand(b, h, n_rep, t, d).reshape(b, h * n_rep, t, d)


class LlamaAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, hidden_states, attention_mask, prefix=None):
        hidden_shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query_states = self.q_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        key_states = self.k_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        value_states = self.v_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        if prefix is not None:
            prefix_keys, prefix_values = prefix
            key_states = torch.cat([prefix_keys, key_states], dim=2)
            value_states = torch.cat([prefix_values, value_states], dim=2)
            attention_mask = F.pad(attention_mask, (prefix_keys.size(2), 0), value=True)
        key_states = repeat_kv(key_states, self.num_key_value_groups)
        value_states = repeat_kv(value_states, self.num_key_value_groups)
        out = F.scaled_dot_product_attention(query_states, key_states, value_states, attn_mask=attention_mask)
        return self.o_proj(out.transpose(1, 2).reshape(*hidden_states.shape[:-1], -1))


class LlamaDecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = LlamaAttention(config)
        self.mlp = nn.Sequential(nn.Linear(config.hidden_size, config.intermediate_size), nn.SiLU(), nn.Linear(config.intermediate_size, config.hidden_size))
        self.input_layernorm = nn.RMSNorm(config.hidden_size)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size)

    def forward(self, x, attention_mask, prefix):
        x = x + self.self_attn(self.input_layernorm(x), attention_mask, prefix)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaAdapterModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaDecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.prefix_tuning = None

    def add_adapter(self, prefix_config):
        n_heads = self.config.num_attention_heads
        n_embd_per_head = self.config.hidden_size // self.config.num_attention_heads
        self.prefix_tuning = PrefixTuning(self.config.num_hidden_layers, n_heads, n_embd_per_head, prefix_config)

    def train_adapter(self):
        for name, p in self.named_parameters():
            p.requires_grad = name.startswith('prefix_tuning')

    def forward(self, input_ids, labels):
        B, T = input_ids.shape
        mask = torch.ones(T, T, dtype=torch.bool).tril()
        prefixes = self.prefix_tuning(B) if self.prefix_tuning is not None else [None] * len(self.layers)
        x = self.embed_tokens(input_ids)
        for layer, prefix in zip(self.layers, prefixes):
            x = layer(x, mask, prefix)
        logits = self.lm_head(self.norm(x))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def build():
    model = LlamaAdapterModel(LlamaConfig)
    model.add_adapter(PrefixTuningConfig)
    model.train_adapter()
    return model


def step(model):
    input_ids = torch.randint(0, 120, (4, 32))
    return model(input_ids, input_ids.clone())


# real fix: n_heads of the prefix = num_key_value_heads
# offending tensor: prefix_keys (4, 8, 12, 8), the key states are (4, 2, 32, 8)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['prefix_tuning', 'function:view', 'prefix_tuning.control_trans.2', 'prefix_tuning.control_trans', 'function:permute', 'function:split'], dim=1, got=8, wanted=2,
             hint_any=['num_key_value_heads', 'n_heads', 'heads', 'view', 'group'])
MENDED = [('n_heads = self.config.num_attention_heads\n', 'n_heads = self.config.num_key_value_heads\n')]
