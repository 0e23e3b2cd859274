from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn import CrossEntropyLoss

SOURCE = 'https://github.com/allenai/OLMo/issues/491'
CATEGORY = 'layer'
DESCRIPTION = 'OLMo fine-tuning with new special tokens: resize_token_embeddings updates vocab_size, the loss reshapes the logits with embedding_size, which stays old.'


@dataclass
class OLMoConfig:
    d_model: int = 32
    n_heads: int = 4
    n_layers: int = 2
    mlp_ratio: int = 4
    vocab_size: int = 300
    embedding_size: int = 304
    max_sequence_length: int = 64
    weight_tying: bool = True


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n_heads = c.n_heads
        self.att_proj = nn.Linear(c.d_model, 3 * c.d_model, bias=False)
        self.attn_out = nn.Linear(c.d_model, c.d_model, bias=False)
        self.ff_proj = nn.Linear(c.d_model, c.mlp_ratio * c.d_model, bias=False)
        self.ff_out = nn.Linear(c.mlp_ratio * c.d_model // 2, c.d_model, bias=False)
        self.attn_norm = nn.LayerNorm(c.d_model, elementwise_affine=False)
        self.ff_norm = nn.LayerNorm(c.d_model, elementwise_affine=False)

    def forward(self, x, bias):
        B, T, C = x.size()
        q, k, v = (t.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2) for t in self.att_proj(self.attn_norm(x)).chunk(3, dim=-1))
        att = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.attn_out(att.transpose(1, 2).contiguous().view(B, T, C))
        up, gate = self.ff_proj(self.ff_norm(x)).chunk(2, dim=-1)
        return x + self.ff_out(F.silu(gate) * up)


class OLMo(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(config.embedding_size or config.vocab_size, config.d_model),
            wpe=nn.Embedding(config.max_sequence_length, config.d_model),
            blocks=nn.ModuleList(Block(config) for _ in range(config.n_layers)),
            ln_f=nn.LayerNorm(config.d_model, elementwise_affine=False)))

    def forward(self, input_ids, attention_mask=None):
        T = input_ids.size(1)
        x = self.transformer.wte(input_ids) + self.transformer.wpe(torch.arange(T))
        bias = torch.ones(T, T, dtype=torch.bool).tril()[None, None]
        if attention_mask is not None:
            bias = bias & (attention_mask[:, None, None, :].bool() | torch.eye(T, dtype=torch.bool))
        for block in self.transformer.blocks:
            x = block(x, bias)
        return F.linear(self.transformer.ln_f(x), self.transformer.wte.weight, None)


class OLMoForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = OLMo(config)

    def get_input_embeddings(self):
        return self.model.transformer.wte

    def resize_token_embeddings(self, new_num_tokens):
        old = self.get_input_embeddings()
        new = nn.Embedding(new_num_tokens, old.embedding_dim)
        n = min(old.num_embeddings, new_num_tokens)
        new.weight.data[:n] = old.weight.data[:n]
        self.model.transformer.wte = new
        self.config.vocab_size = new_num_tokens
        return new

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.model(input_ids, attention_mask)
        loss = None
        if labels is not None:
            shift_logits = logits[..., :-1, :].contiguous()
            shift_labels = labels[..., 1:].contiguous()
            loss_fct = CrossEntropyLoss()
            shift_logits = shift_logits.view(-1, self.config.embedding_size)
            shift_labels = shift_labels.view(-1)
            loss = loss_fct(shift_logits, shift_labels)
        return loss, logits


class Tokenizer:
    def __init__(self, size):
        self.size = size

    def add_special_tokens(self, tokens):
        self.size += len(tokens)

    def __len__(self):
        return self.size


tokenizer = Tokenizer(300)


def build():
    model = OLMoForCausalLM(OLMoConfig())
    tokenizer.size = 300
    tokenizer.add_special_tokens(['<|user|>', '<|assistant|>', '<|pad|>'])
    model.resize_token_embeddings(len(tokenizer))
    return model


def step(model):
    lengths = torch.tensor([40, 33, 18, 27])
    attention_mask = (torch.arange(40) < lengths[:, None]).long()
    input_ids = torch.where(attention_mask.bool(), torch.randint(0, 302, (4, 40)), len(tokenizer) - 1)
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    loss, _ = model(input_ids, attention_mask, labels)
    return loss


# real fix: the loss reshapes with vocab_size (or resize_token_embeddings also sets embedding_size)
# offending tensor: shift_logits (4, 39, 303) for view(-1, 304)
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['', 'function:view', 'model', 'function:linear', 'model.transformer.wte'], dim=2, got=303, wanted=304,
             hint_any=['embedding_size', 'vocab', 'view(-1, 303', 'size(-1)', 'num_embeddings', '303'])
MENDED = [('shift_logits.view(-1, self.config.embedding_size)', 'shift_logits.view(-1, self.config.vocab_size)')]
