import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/EleutherAI/gpt-neox/issues/1314'
CATEGORY = 'layer'
DESCRIPTION = 'Grouped queries in GPT-NeoX: each head gets int(head * (1 + 2 * kv / heads)) columns of the fused projection, the fraction is lost.'


class NeoXArgs:
    hidden_size = 80
    num_attention_heads = 10
    num_kv_heads = 2
    seq_length = 24
    num_layers = 2
    padded_vocab_size = 128


class ParallelSelfAttention(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.num_heads = args.num_attention_heads
        self.num_kv_heads = args.num_kv_heads
        self.head_dim = args.hidden_size // args.num_attention_heads
        self.hidden_size = args.hidden_size
        self.kv_hidden_size = self.num_kv_heads * self.head_dim
        self.query_key_value = nn.Linear(args.hidden_size, args.hidden_size + 2 * self.kv_hidden_size)
        self.dense = nn.Linear(args.hidden_size, args.hidden_size)

    def gqa_project(self, hidden_states):
        mixed = self.query_key_value(hidden_states)
        ratio = self.num_kv_heads / self.num_heads
        new_tensor_shape = mixed.size()[:-1] + (self.num_heads, int(self.head_dim * (1 + 2 * ratio)))
        mixed = mixed.view(*new_tensor_shape)
        q, k, v = torch.split(mixed, [self.head_dim, int(ratio * self.head_dim), int(ratio * self.head_dim)], dim=-1)
        sq, b = mixed.size(0), mixed.size(1)
        q = q.reshape(sq, b, self.num_heads, self.head_dim)
        k = k.reshape(sq, b, self.num_kv_heads, self.head_dim)
        v = v.reshape(sq, b, self.num_kv_heads, self.head_dim)
        repeats = self.num_heads // self.num_kv_heads
        return q, k.repeat_interleave(repeats, dim=2), v.repeat_interleave(repeats, dim=2)

    def forward(self, hidden_states):
        q, k, v = (t.permute(1, 2, 0, 3) for t in self.gqa_project(hidden_states))
        context = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        context = context.permute(2, 0, 1, 3).flatten(2)
        return self.dense(context)


class ParallelTransformerLayer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(args.hidden_size)
        self.attention = ParallelSelfAttention(args)
        self.post_attention_layernorm = nn.LayerNorm(args.hidden_size)
        self.mlp = nn.Sequential(nn.Linear(args.hidden_size, 4 * args.hidden_size), nn.GELU(), nn.Linear(4 * args.hidden_size, args.hidden_size))

    def forward(self, x):
        x = x + self.attention(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class GPT2Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.word_embeddings = nn.Embedding(args.padded_vocab_size, args.hidden_size)
        self.layers = nn.Sequential(*[ParallelTransformerLayer(args) for _ in range(args.num_layers)])
        self.final = nn.Linear(args.hidden_size, args.padded_vocab_size, bias=False)

    def forward(self, tokens):
        x = self.word_embeddings(tokens).transpose(0, 1).contiguous()
        return self.final(self.layers(x)).transpose(0, 1)


def build():
    return GPT2Model(NeoXArgs())


def step(model):
    text = torch.randint(0, 128, (4, NeoXArgs.seq_length + 1))
    logits = model(text[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())


TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'layers.0.attention.query_key_value'], dim=2, got=112, wanted=110,
             hint_any=['112', '110', '11', 'head', 'divis'])
MENDED = [('        mixed = mixed.view(*new_tensor_shape)\n', ''),
          ('torch.split(mixed, [self.head_dim, int(ratio * self.head_dim), int(ratio * self.head_dim)], dim=-1)',
           'torch.split(mixed, [self.hidden_size, self.kv_hidden_size, self.kv_hidden_size], dim=-1)')]
