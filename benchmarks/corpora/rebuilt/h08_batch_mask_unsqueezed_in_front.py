import copy
import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://blog.youkuaiyun.com/JimChingweiSuen/article/details/132558576 (copy of a CSDN post on the problems with a Transformer course)'
CATEGORY = 'layer'
DESCRIPTION = 'Transformer by hand, copy task: MultiHeadedAttention does mask.unsqueeze(0), which fits the (heads, L, L) masks of the unit tests; the masks of Batch are (13, 1, 10) and need unsqueeze(1).'


def clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


def subsequent_mask(size):
    return torch.tril(torch.ones(1, size, size)).bool()


def attention(query, key, value, mask=None, dropout=None):
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = F.softmax(scores, dim=-1)
    if dropout is not None:
        p_attn = dropout(p_attn)
    return torch.matmul(p_attn, value), p_attn


class MultiHeadedAttention(nn.Module):
    def __init__(self, head, embedding_dim, dropout=0.1):
        super().__init__()
        assert embedding_dim % head == 0
        self.d_k = embedding_dim // head
        self.head = head
        self.linears = clones(nn.Linear(embedding_dim, embedding_dim), 4)
        self.attn = None
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, query, key, value, mask=None):
        if mask is not None:
            mask = mask.unsqueeze(0)
        batch_size = query.size(0)
        query, key, value = [model(x).view(batch_size, -1, self.head, self.d_k).transpose(1, 2)
                             for model, x in zip(self.linears, (query, key, value))]
        x, self.attn = attention(query, key, value, mask=mask, dropout=self.dropout)
        x = x.transpose(1, 2).contiguous().view(batch_size, -1, self.head * self.d_k)
        return self.linears[-1](x)


class SublayerConnection(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.norm = nn.LayerNorm(size)

    def forward(self, x, sublayer):
        return x + sublayer(self.norm(x))


class EncoderLayer(nn.Module):
    def __init__(self, size, self_attn, feed_forward):
        super().__init__()
        self.self_attn = self_attn
        self.feed_forward = feed_forward
        self.sublayer = clones(SublayerConnection(size), 2)

    def forward(self, x, mask):
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, mask))
        return self.sublayer[1](x, self.feed_forward)


class CopyModel(nn.Module):
    def __init__(self, V, N=2, d_model=32, d_ff=64, head=8):
        super().__init__()
        c = copy.deepcopy
        attn = MultiHeadedAttention(head, d_model)
        ff = nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))
        self.embed = nn.Embedding(V, d_model)
        self.layers = clones(EncoderLayer(d_model, c(attn), c(ff)), N)
        self.generator = nn.Linear(d_model, V)

    def forward(self, source, source_mask):
        x = self.embed(source)
        for layer in self.layers:
            x = layer(x, source_mask)
        return F.log_softmax(self.generator(x), dim=-1)


class Batch:
    def __init__(self, source, pad=0):
        self.source = source
        self.source_mask = (source != pad).unsqueeze(-2)


def data_generator(V, batch_size, num_batch):
    g = torch.Generator().manual_seed(7)
    for _ in range(num_batch):
        data = torch.randint(1, V, (batch_size, 10), generator=g)
        data[:, 0] = 1
        yield Batch(data)


def build():
    torch.manual_seed(0)
    return CopyModel(V=11)


def step(model):
    for batch in data_generator(11, 13, 1):
        out = model(batch.source, batch.source_mask)
        loss = F.nll_loss(out.view(-1, 11), batch.source.view(-1))
    return loss


TRUTH = dict(raises='RuntimeError', at='function:masked_fill', culprits=['function:unsqueeze', 'layers.0.self_attn'], dim=1, got=13, wanted=None,
             hint_any=['unsqueeze', 'mask', 'head'])
MENDED = [('mask = mask.unsqueeze(0)', 'mask = mask.unsqueeze(1)')]
