from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/karpathy/nanochat/pull/224'
CATEGORY = 'layer'
DESCRIPTION = 'A checkpoint whose token embedding was kept in bfloat16 on the GPU is loaded on the CPU, without autocast, next to float32 layers.'


@dataclass
class GPTConfig:
    sequence_len: int = 64
    vocab_size: int = 96
    n_layer: int = 2
    n_head: int = 4
    n_kv_head: int = 2
    n_embd: int = 32


def norm(x):
    return F.rms_norm(x, (x.size(-1),))


def apply_rotary_emb(x, cos, sin):
    d = x.shape[3] // 2
    x1, x2 = x[..., :d], x[..., d:]
    return torch.cat([x1 * cos + x2 * sin, x1 * (-sin) + x2 * cos], 3).to(x.dtype)


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head, self.n_kv_head, self.head_dim = config.n_head, config.n_kv_head, config.n_embd // config.n_head
        self.c_q = nn.Linear(config.n_embd, self.n_head * self.head_dim, bias=False)
        self.c_k = nn.Linear(config.n_embd, self.n_kv_head * self.head_dim, bias=False)
        self.c_v = nn.Linear(config.n_embd, self.n_kv_head * self.head_dim, bias=False)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, cos_sin):
        B, T, C = x.size()
        q = self.c_q(x).view(B, T, self.n_head, self.head_dim)
        k = self.c_k(x).view(B, T, self.n_kv_head, self.head_dim)
        v = self.c_v(x).view(B, T, self.n_kv_head, self.head_dim).transpose(1, 2)
        q, k = norm(apply_rotary_emb(q, *cos_sin)).transpose(1, 2), norm(apply_rotary_emb(k, *cos_sin)).transpose(1, 2)
        nrep = self.n_head // self.n_kv_head
        y = F.scaled_dot_product_attention(q, k.repeat_interleave(nrep, 1), v.repeat_interleave(nrep, 1), is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, -1))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x):
        return self.c_proj(F.relu(self.c_fc(x)).square())


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn, self.mlp = CausalSelfAttention(config), MLP(config)

    def forward(self, x, cos_sin):
        x = x + self.attn(norm(x), cos_sin)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict({'wte': nn.Embedding(config.vocab_size, config.n_embd), 'h': nn.ModuleList(Block(config) for _ in range(config.n_layer))})
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        head_dim = config.n_embd // config.n_head
        freqs = torch.outer(torch.arange(config.sequence_len).float(), 1.0 / (10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)))
        self.register_buffer('cos', freqs.cos().bfloat16()[None, :, None], persistent=False)
        self.register_buffer('sin', freqs.sin().bfloat16()[None, :, None], persistent=False)

    def forward(self, idx, targets=None):
        T = idx.size(1)
        cos_sin = self.cos[:, :T], self.sin[:, :T]
        x = norm(self.transformer.wte(idx))
        for block in self.transformer.h:
            x = block(x, cos_sin)
        logits = self.lm_head(norm(x))
        logits = 15 * torch.tanh(logits / 15)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)).float(), targets.view(-1), ignore_index=-1)


def load_checkpoint():
    trained = GPT(GPTConfig())
    trained.transformer.wte.to(dtype=torch.bfloat16)
    model_data = {'_orig_mod.' + k: v for k, v in trained.state_dict().items()}
    return model_data, {'model_config': asdict(trained.config)}


def build_model():
    model_data, meta_data = load_checkpoint()
    model_data = {k.removeprefix('_orig_mod.'): v for k, v in model_data.items()}
    model = GPT(GPTConfig(**meta_data['model_config']))
    model.load_state_dict(model_data, strict=True, assign=True)
    return model


def build():
    return build_model()


def step(model):
    tokens = torch.randint(0, 96, (4, 33))
    return model(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())


# real fix: when the device is a CPU, convert bfloat16 tensors of the checkpoint to float
TRUTH = dict(raises='RuntimeError', at='module:transformer.h.0.attn.c_q', culprits=['transformer.wte'], dim=None, got=None, wanted=None,
             hint_any=['bfloat16', 'float32', 'dtype'])
MENDED = [("{k.removeprefix('_orig_mod.'): v for k, v in model_data.items()}",
           "{k.removeprefix('_orig_mod.'): v.float() if v.dtype == torch.bfloat16 else v for k, v in model_data.items()}")]
