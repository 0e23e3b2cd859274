import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/phlippe/uvadlc_notebooks/issues/51'
CATEGORY = 'layer'
DESCRIPTION = 'Attention of a course notebook: the heads are put together in the width that was read from the input instead of self.embed_dim; noticed when input_dim and embed_dim differ.'


def scaled_dot_product(q, k, v, mask=None):
    d_k = q.size()[-1]
    attn_logits = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        attn_logits = attn_logits.masked_fill(mask == 0, -9e15)
    attention = F.softmax(attn_logits, dim=-1)
    return torch.matmul(attention, v), attention


class MultiheadAttention(nn.Module):
    def __init__(self, input_dim, embed_dim, num_heads):
        super().__init__()
        assert embed_dim % num_heads == 0, "Embedding dimension must be 0 modulo number of heads."
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.qkv_proj = nn.Linear(input_dim, 3 * embed_dim)
        self.o_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x, mask=None, return_attention=False):
        batch_size, seq_length, embed_dim = x.size()
        qkv = self.qkv_proj(x)
        qkv = qkv.reshape(batch_size, seq_length, self.num_heads, 3 * self.head_dim)
        qkv = qkv.permute(0, 2, 1, 3)
        q, k, v = qkv.chunk(3, dim=-1)
        values, attention = scaled_dot_product(q, k, v, mask=mask)
        values = values.permute(0, 2, 1, 3)
        values = values.reshape(batch_size, seq_length, embed_dim)
        o = self.o_proj(values)
        return (o, attention) if return_attention else o


class SetAnomalyModel(nn.Module):
    def __init__(self, input_dim=24, model_dim=32, num_heads=4):
        super().__init__()
        self.self_attn = MultiheadAttention(input_dim, model_dim, num_heads)
        self.norm1 = nn.LayerNorm(model_dim)
        self.linear_net = nn.Sequential(nn.Linear(model_dim, 2 * model_dim), nn.ReLU(), nn.Linear(2 * model_dim, model_dim))
        self.norm2 = nn.LayerNorm(model_dim)
        self.output_net = nn.Linear(model_dim, 1)

    def forward(self, x):
        x = self.norm1(self.self_attn(x))
        x = self.norm2(x + self.linear_net(x))
        return self.output_net(x).squeeze(-1)


def build():
    torch.manual_seed(0)
    return SetAnomalyModel()


def step(model):
    g = torch.Generator().manual_seed(4)
    img_sets = torch.randn(4, 10, 24, generator=g)
    labels = torch.randint(0, 10, (4,), generator=g)
    preds = model(img_sets)
    return F.cross_entropy(preds, labels)


TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape', 'self_attn'], dim=2, got=24, wanted=32,
             hint_any=['32', 'embed_dim', 'width'])
MENDED = [('batch_size, seq_length, embed_dim = x.size()', 'batch_size, seq_length, _ = x.size()'),
          ('values.reshape(batch_size, seq_length, embed_dim)', 'values.reshape(batch_size, seq_length, self.embed_dim)')]
