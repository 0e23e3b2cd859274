import math

import torch
from torch import nn

SOURCE = 'https://github.com/jsbaan/transformer-from-scratch/pull/6 (issue 4)'
CATEGORY = 'silent'
DESCRIPTION = 'Transformer from scratch: the values (batch, heads, seq, dim) are reshaped to (batch, seq, hidden) without a permute before it, so pieces of several positions end up in one token.'


class MultiHeadAttention(nn.Module):
    def __init__(self, hidden_dim, num_heads):
        super().__init__()
        assert hidden_dim % num_heads == 0
        self.qkv_dim = hidden_dim // num_heads
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(hidden_dim, 3 * num_heads * self.qkv_dim)
        self.o_proj = nn.Linear(num_heads * self.qkv_dim, hidden_dim)
        self._reset_parameters()

    def _reset_parameters(self):
        nn.init.xavier_uniform_(self.qkv_proj.weight)
        self.qkv_proj.bias.data.fill_(0)
        nn.init.xavier_uniform_(self.o_proj.weight)
        self.o_proj.bias.data.fill_(0)

    def forward(self, x, mask=None):
        n_batches, sequence_length, hidden_dim = x.size()
        qkv = self.qkv_proj(x)
        qkv = qkv.reshape(n_batches, sequence_length, self.num_heads, 3 * self.qkv_dim)
        qkv = qkv.permute(0, 2, 1, 3)
        q, k, v = qkv.chunk(3, dim=-1)
        values, attn = self.scaled_dot_product(q, k, v, mask)
        values = values.reshape(n_batches, sequence_length, hidden_dim)
        return self.o_proj(values)

    def scaled_dot_product(self, q, k, v, mask=None):
        attn_logits = torch.matmul(q, torch.transpose(k, -2, -1)) / math.sqrt(q.size()[-1])
        if mask is not None:
            attn_logits = attn_logits.masked_fill(mask == 0, float('-inf'))
        attention = nn.functional.softmax(attn_logits, dim=-1)
        return torch.matmul(attention, v), attention


class DecoderBlock(nn.Module):
    def __init__(self, hidden_dim, ff_dim, num_heads, dropout_p):
        super().__init__()
        self.self_mha = MultiHeadAttention(hidden_dim, num_heads)
        self.feed_forward = nn.Sequential(nn.Linear(hidden_dim, ff_dim), nn.ReLU(), nn.Linear(ff_dim, hidden_dim))
        self.dropout1 = nn.Dropout(p=dropout_p)
        self.dropout2 = nn.Dropout(p=dropout_p)
        self.layer_norm1 = nn.LayerNorm(hidden_dim)
        self.layer_norm2 = nn.LayerNorm(hidden_dim)

    def forward(self, x, mask):
        x = self.layer_norm1(x + self.dropout1(self.self_mha(x, mask)))
        return self.layer_norm2(x + self.dropout2(self.feed_forward(x)))


class TransformerDecoder(nn.Module):
    def __init__(self, vocab_size=40, hidden_dim=32, ff_dim=64, num_heads=4, num_layers=2, dropout_p=0.1):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, hidden_dim)
        self.position = nn.Embedding(64, hidden_dim)
        self.decoder_blocks = nn.ModuleList(
            [DecoderBlock(hidden_dim, ff_dim, num_heads, dropout_p) for _ in range(num_layers)])
        self.output_layer = nn.Linear(hidden_dim, vocab_size, bias=False)

    def forward(self, tokens):
        steps = tokens.size(1)
        mask = torch.tril(torch.ones(steps, steps)).bool()
        x = self.embed(tokens) + self.position(torch.arange(steps))
        for block in self.decoder_blocks:
            x = block(x, mask)
        return self.output_layer(x)


def build():
    return TransformerDecoder()


def step(model):
    tokens = torch.randint(1, 40, (6, 11))
    logits = model(tokens[:, :-1])
    return nn.functional.cross_entropy(logits.permute(0, 2, 1), tokens[:, 1:])


# real fix: values.permute(0, 2, 1, 3) before the reshape
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape'], dim=1, got=None, wanted=None,
             hint_any=['permute', 'transpose', 'heads', 'reshape'])
MENDED = [('values = values.reshape(n_batches', 'values = values.permute(0, 2, 1, 3).reshape(n_batches')]
