import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/georgepar/slp/pull/26 (the layers around it are written anew; source and target padded to one length)'
CATEGORY = 'silent'
DESCRIPTION = 'Dialogue with an encoder and a decoder: sublayers with residual and norm, attention over self and over the encoded question.'


class MultiheadAttention(nn.Module):
    def __init__(self, attention_size, num_heads, dropout=0.0):
        super().__init__()
        self.num_heads, self.size = num_heads, attention_size // num_heads
        self.q, self.kv = nn.Linear(attention_size, attention_size), nn.Linear(attention_size, 2 * attention_size)
        self.output = nn.Linear(attention_size, attention_size)
        self.drop = nn.Dropout(dropout)

    def heads(self, x):
        return x.view(x.size(0), x.size(1), self.num_heads, self.size).transpose(1, 2)

    def forward(self, keys, queries=None, attention_mask=None):
        queries = keys if queries is None else queries
        k, v = (self.heads(t) for t in self.kv(keys).chunk(2, dim=-1))
        scores = self.heads(self.q(queries)) @ k.transpose(-1, -2) / math.sqrt(self.size)
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask == 0, -1e9)
        out = self.drop(scores.softmax(-1)) @ v
        return self.output(out.transpose(1, 2).reshape(queries.shape))


class PositionwiseFF(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.w1, self.w2 = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)

    def forward(self, x):
        return self.w2(F.gelu(self.w1(x)))


class Sublayer1(nn.Module):
    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.lnorm = nn.LayerNorm(hidden_size)
        self.sublayer = MultiheadAttention(hidden_size, num_heads)

    def forward(self, x, attention_mask=None):
        return self.lnorm(x + self.sublayer(x, attention_mask=attention_mask))


class Sublayer2(nn.Module):
    def __init__(self, hidden_size, inner_size):
        super().__init__()
        self.lnorm = nn.LayerNorm(hidden_size)
        self.sublayer = PositionwiseFF(hidden_size, inner_size)

    def forward(self, x):
        return self.lnorm(x + self.sublayer(x))


class Sublayer3(nn.Module):
    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.lnorm = nn.LayerNorm(hidden_size)
        self.sublayer = MultiheadAttention(hidden_size, num_heads)

    def forward(self, x, y, attention_mask=None):
        return self.lnorm(x + self.sublayer(x, queries=y, attention_mask=attention_mask))


class EncoderLayer(nn.Module):
    def __init__(self, hidden_size, num_heads, inner_size):
        super().__init__()
        self.l1, self.l2 = Sublayer1(hidden_size, num_heads), Sublayer2(hidden_size, inner_size)

    def forward(self, x, attention_mask=None):
        return self.l2(self.l1(x, attention_mask=attention_mask))


class DecoderLayer(nn.Module):
    def __init__(self, hidden_size, num_heads, inner_size):
        super().__init__()
        self.in_layer = Sublayer1(hidden_size, num_heads)
        self.fuse_layer = Sublayer3(hidden_size, num_heads)
        self.out_layer = Sublayer2(hidden_size, inner_size)

    def forward(self, targets, encoded, source_mask=None, target_mask=None):
        targets = self.in_layer(targets, attention_mask=target_mask)
        out = self.fuse_layer(encoded, targets, attention_mask=source_mask)
        return self.out_layer(out)


class EncoderDecoder(nn.Module):
    def __init__(self, vocab=60, hidden_size=32, num_heads=4, inner_size=64, num_layers=2, max_length=24):
        super().__init__()
        self.embed = nn.Embedding(vocab, hidden_size, padding_idx=0)
        self.position = nn.Parameter(0.1 * torch.randn(max_length, hidden_size))
        self.encoder = nn.ModuleList(EncoderLayer(hidden_size, num_heads, inner_size) for _ in range(num_layers))
        self.decoder = nn.ModuleList(DecoderLayer(hidden_size, num_heads, inner_size) for _ in range(num_layers))
        self.predict = nn.Linear(hidden_size, vocab)

    def forward(self, source, target, source_mask=None, target_mask=None):
        x = self.embed(source) + self.position[:source.size(1)]
        for layer in self.encoder:
            x = layer(x, attention_mask=source_mask)
        y = self.embed(target) + self.position[:target.size(1)]
        for layer in self.decoder:
            y = layer(y, x, source_mask=source_mask, target_mask=target_mask)
        return self.predict(y)


def collate(sentences, length=14):
    out = torch.zeros(len(sentences), length, dtype=torch.long)
    for row, s in zip(out, sentences):
        row[:len(s)] = s
    return out


def build():
    return EncoderDecoder()


def step(model):
    lengths = torch.randint(6, 15, (2, 8)).tolist()
    source = collate([torch.randint(2, 60, (n,)) for n in lengths[0]])
    answers = collate([torch.randint(2, 60, (n,)) for n in lengths[1]])
    inputs = torch.cat([torch.ones(8, 1, dtype=torch.long), answers[:, :-1]], dim=1)
    source_mask = (source != 0)[:, None, None, :]
    target_mask = torch.ones(14, 14).tril().bool()[None, None] & (inputs != 0)[:, None, None, :]
    logits = model(source, inputs, source_mask, target_mask)
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), answers.reshape(-1), ignore_index=0)


# the residual around the attention on the encoder is the encoder's output (keys), not the decoder's state (queries)
TRUTH = dict(raises=None, at=None, culprits=['decoder.0.fuse_layer', 'decoder.1.fuse_layer', 'decoder.0', 'decoder.1'], dim=None, got=None, wanted=None,
             hint_any=['residual', 'quer', 'encoder', 'encoded', 'skip'])
MENDED = [('self.lnorm(x + self.sublayer(x, queries=y, attention_mask=attention_mask))', 'self.lnorm(y + self.sublayer(x, queries=y, attention_mask=attention_mask))')]
