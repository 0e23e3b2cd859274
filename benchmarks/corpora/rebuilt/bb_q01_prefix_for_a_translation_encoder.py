import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/adapter-hub/adapters/issues/485 (repaired in pull request 621)'
CATEGORY = 'layer'
DESCRIPTION = ('Prefix tuning of T5-3B: the width of a head of the prefix is d_model // num_heads (1024 // 32), but this T5 has d_kv = 128, '
               'so prefix keys and key states differ in their last dimension.')


class T5Config:
    d_model = 32
    d_kv = 16
    d_ff = 64
    num_heads = 4
    num_layers = 2
    vocab_size = 60


class PrefixTuningConfig:
    prefix_length = 5
    bottleneck_size = 24
    dropout = 0.0


class PrefixTuning(nn.Module):
    def __init__(self, n_layers, n_heads, input_size, config, n_embd_per_head=None):
        super().__init__()
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.input_size = input_size
        self.n_embd_per_head = n_embd_per_head or input_size // n_heads
        self.config = config
        self.register_buffer('input_tokens', torch.arange(config.prefix_length))
        self.wte = nn.Embedding(config.prefix_length, input_size)
        self.control_trans = nn.Sequential(
            nn.Linear(input_size, config.bottleneck_size),
            nn.Tanh(),
            nn.Linear(config.bottleneck_size, n_layers * 2 * n_heads * self.n_embd_per_head),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch_size):
        input_tokens = self.input_tokens.unsqueeze(0).expand(batch_size, -1)
        key_values = self.control_trans(self.wte(input_tokens))
        key_values = key_values.view(batch_size, self.config.prefix_length, self.n_layers * 2, self.n_heads, self.n_embd_per_head)
        key_values = self.dropout(key_values)
        return key_values.permute(2, 0, 3, 1, 4).split(2)


class T5Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads, self.key_value_proj_dim = config.num_heads, config.d_kv
        self.inner_dim = self.n_heads * self.key_value_proj_dim
        self.q = nn.Linear(config.d_model, self.inner_dim, bias=False)
        self.k = nn.Linear(config.d_model, self.inner_dim, bias=False)
        self.v = nn.Linear(config.d_model, self.inner_dim, bias=False)
        self.o = nn.Linear(self.inner_dim, config.d_model, bias=False)

    def shape(self, states):
        return states.view(states.shape[0], -1, self.n_heads, self.key_value_proj_dim).transpose(1, 2)

    def forward(self, hidden_states, prefix=None):
        batch_size = hidden_states.shape[0]
        query_states = self.shape(self.q(hidden_states))
        key_states = self.shape(self.k(hidden_states))
        value_states = self.shape(self.v(hidden_states))
        if prefix is not None:
            prefix_keys, prefix_values = prefix
            key_states = torch.cat([prefix_keys, key_states], dim=2)
            value_states = torch.cat([prefix_values, value_states], dim=2)
        scores = torch.matmul(query_states, key_states.transpose(3, 2))
        attn_output = torch.matmul(scores.softmax(-1), value_states)
        return self.o(attn_output.transpose(1, 2).contiguous().view(batch_size, -1, self.inner_dim))


class T5Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.SelfAttention = T5Attention(config)
        self.ff = nn.Sequential(nn.LayerNorm(config.d_model), nn.Linear(config.d_model, config.d_ff), nn.ReLU(), nn.Linear(config.d_ff, config.d_model))

    def forward(self, x, prefix=None):
        x = x + self.SelfAttention(self.layer_norm(x), prefix)
        return x + self.ff(x)


class T5Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.block = nn.ModuleList([T5Block(config) for _ in range(config.num_layers)])
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.prefix_tuning = None

    def add_prefix(self, prefix_config):
        for p in self.parameters():
            p.requires_grad_(False)
        self.prefix_tuning = PrefixTuning(self.config.num_layers, self.config.num_heads, self.config.d_model, prefix_config)

    def forward(self, input_ids):
        x = self.shared(input_ids)
        prefixes = self.prefix_tuning(input_ids.shape[0])
        for block, prefix in zip(self.block, prefixes):
            x = block(x, prefix)
        return self.lm_head(x)


def build():
    torch.manual_seed(0)
    model = T5Encoder(T5Config())
    model.add_prefix(PrefixTuningConfig())
    return model


def step(model):
    torch.manual_seed(1)
    input_ids = torch.randint(0, 60, (4, 9))
    labels = torch.randint(0, 60, (4, 9))
    logits = model(input_ids)
    return F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1))


# real fix: n_embd_per_head=config.d_kv is handed to the prefix, so that the last layer of control_trans gives n_layers * 2 * n_heads * d_kv
# offending tensor: prefix_keys (4, 4, 5, 8) beside key_states (4, 4, 9, 16)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['prefix_tuning.control_trans.2', 'function:view', 'prefix_tuning'], dim=3, got=8, wanted=16,
             hint_any=['16', 'd_kv', 'head', 'out_features'])
MENDED = [('self.config.d_model, prefix_config)', 'self.config.d_model, prefix_config, n_embd_per_head=self.config.d_kv)')]
