import copy
import math
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/harvardnlp/annotated-transformer/issues/9'
CATEGORY = 'correct'
DESCRIPTION = 'Encoder and decoder in the manner of the annotated transformer: layers are cloned, the copy task as in the text.'


def clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


class SublayerConnection(nn.Module):
    def __init__(self, size, dropout):
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(size), nn.Dropout(dropout)

    def forward(self, x, sublayer):
        return x + self.dropout(sublayer(self.norm(x)))


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model):
        super().__init__()
        self.h, self.d_k = h, d_model // h
        self.linears = clones(nn.Linear(d_model, d_model), 4)

    def forward(self, query, key, value, mask):
        nb = query.size(0)
        query, key, value = [l(x).view(nb, -1, self.h, self.d_k).transpose(1, 2)
                             for l, x in zip(self.linears, (query, key, value))]
        scores = query @ key.transpose(-2, -1) / math.sqrt(self.d_k)
        p_attn = scores.masked_fill(mask.unsqueeze(1) == 0, -1e9).softmax(dim=-1)
        return self.linears[-1]((p_attn @ value).transpose(1, 2).contiguous().view(nb, -1, self.h * self.d_k))


class EncoderLayer(nn.Module):
    def __init__(self, size, attn, ff, dropout):
        super().__init__()
        self.self_attn, self.feed_forward = attn, ff
        self.sublayer = clones(SublayerConnection(size, dropout), 2)

    def forward(self, x, mask):
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, mask))
        return self.sublayer[1](x, self.feed_forward)


class DecoderLayer(nn.Module):
    def __init__(self, size, self_attn, src_attn, ff, dropout):
        super().__init__()
        self.self_attn, self.src_attn, self.feed_forward = self_attn, src_attn, ff
        self.sublayer = clones(SublayerConnection(size, dropout), 3)

    def forward(self, x, m, src_mask, tgt_mask):
        x = self.sublayer[0](x, lambda x: self.self_attn(x, x, x, tgt_mask))
        x = self.sublayer[1](x, lambda x: self.src_attn(x, m, m, src_mask))
        return self.sublayer[2](x, self.feed_forward)


class EncoderDecoder(nn.Module):
    def __init__(self, vocab, N=2, d=32, d_ff=64, h=4, dropout=0.1):
        super().__init__()
        c = copy.deepcopy
        attn = MultiHeadedAttention(h, d)
        ff = nn.Sequential(nn.Linear(d, d_ff), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_ff, d))
        self.encoder = clones(EncoderLayer(d, c(attn), c(ff), dropout), N)
        self.decoder = clones(DecoderLayer(d, c(attn), c(attn), c(ff), dropout), N)
        self.enc_norm, self.dec_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.d = d
        self.lut = nn.Embedding(vocab, d)
        pe = torch.zeros(50, d)
        position = torch.arange(50).unsqueeze(1)
        div = torch.exp(torch.arange(0, d, 2) * -(math.log(10000.0) / d))
        pe[:, 0::2], pe[:, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer('pe', pe.unsqueeze(0))
        self.generator = nn.Linear(d, vocab)

    def embed(self, x):
        return self.lut(x) * math.sqrt(self.d) + self.pe[:, :x.size(1)]

    def forward(self, src, tgt, src_mask, tgt_mask):
        m, x = self.embed(src), self.embed(tgt)
        for layer in self.encoder:
            m = layer(m, src_mask)
        m = self.enc_norm(m)
        for layer in self.decoder:
            x = layer(x, m, src_mask, tgt_mask)
        return F.log_softmax(self.generator(self.dec_norm(x)), dim=-1)


class LabelSmoothing(nn.Module):
    def __init__(self, size, padding_idx, smoothing):
        super().__init__()
        self.criterion = nn.KLDivLoss(reduction='sum')
        self.size, self.padding_idx, self.smoothing = size, padding_idx, smoothing

    def forward(self, x, target):
        true_dist = torch.full_like(x, self.smoothing / (self.size - 2))
        true_dist.scatter_(1, target.unsqueeze(1), 1.0 - self.smoothing)
        true_dist[:, self.padding_idx] = 0
        true_dist[target == self.padding_idx] = 0.0
        return self.criterion(x, true_dist)


def build():
    model = EncoderDecoder(vocab=12)
    for p in model.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    return model


def step(model, V=12):
    data = torch.randint(1, V, (8, 8))
    data[:, 0] = 1
    src, tgt, tgt_y = data, data[:, :-1], data[:, 1:]
    src_mask = (src != 0).unsqueeze(-2)
    tgt_mask = (tgt != 0).unsqueeze(-2) & torch.tril(torch.ones(1, 7, 7)).bool()
    criterion = LabelSmoothing(V, 0, 0.1)
    out = model(src, tgt, src_mask, tgt_mask)
    return criterion(out.reshape(-1, V), tgt_y.reshape(-1)) / (tgt_y != 0).sum()


# the clones begin with equal weights, as the issue says, but every matrix is drawn anew afterwards (found there too)
TRUTH = dict(raises=None, culprits=[])
MENDED = []
