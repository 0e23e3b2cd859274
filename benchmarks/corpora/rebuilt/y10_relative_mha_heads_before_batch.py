import math
import torch
import torch.nn as nn

SOURCE = 'https://github.com/gazelle93/Transformer-Various-Positional-Encoding/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Multi-head attention: the output of shape (batch * heads, T, d) is viewed as (heads, batch, T, d) and merged as if it were (batch, heads, T, d).'


class RelativePositionalEmbedding(nn.Module):
    def __init__(self, max_position, dim):
        super().__init__()
        self.max_position = max_position
        self.embeddings_table = nn.Embedding(2 * max_position + 1, dim)

    def forward(self, q_len, k_len):
        distance = torch.arange(k_len)[None, :] - torch.arange(q_len)[:, None]
        return self.embeddings_table(distance.clamp(-self.max_position, self.max_position) + self.max_position)


class RelativeScaledDotProductAttention(nn.Module):
    def forward(self, query, key, value, a_key, a_value):
        qk = torch.matmul(query, key.transpose(-1, -2))
        rel = torch.matmul(query.permute(1, 0, 2), a_key.transpose(1, 2)).transpose(0, 1)
        score = torch.softmax((qk + rel) / math.sqrt(query.size(-1)), dim=-1)
        out = torch.matmul(score, value)
        rel_v = torch.matmul(score.permute(1, 0, 2), a_value).transpose(0, 1)
        return out + rel_v, score


class MultiHeadAttention(nn.Module):
    def __init__(self, emb_dim, num_heads, max_position=8):
        super().__init__()
        self.emb_dim, self.num_heads = emb_dim, num_heads
        self.head_dim = emb_dim // num_heads
        self.wq, self.wk, self.wv = (nn.Linear(emb_dim, emb_dim) for _ in range(3))
        self.out = nn.Linear(emb_dim, emb_dim)
        self.relative_key = RelativePositionalEmbedding(max_position, self.head_dim)
        self.relative_value = RelativePositionalEmbedding(max_position, self.head_dim)
        self.relative_scaled_dot_attn = RelativeScaledDotProductAttention()

    def reshape_from_feed(self, batch_size, _tensor):
        _tensor = _tensor.view(batch_size, -1, self.num_heads, self.head_dim).transpose(1, 2)
        return _tensor.reshape(batch_size * self.num_heads, -1, self.head_dim)

    def reshape_to_concat(self, batch_size, _tensor):
        _tensor = _tensor.permute(0, 2, 1, 3)
        return _tensor.contiguous().view(batch_size, -1, self.num_heads * self.head_dim)

    def forward(self, x):
        batch_size, length, _ = x.size()
        query, key, value = (self.reshape_from_feed(batch_size, w(x)) for w in (self.wq, self.wk, self.wv))
        a_key, a_value = self.relative_key(length, length), self.relative_value(length, length)
        output, attn_score = self.relative_scaled_dot_attn(query, key, value, a_key, a_value)
        output = output.view(self.num_heads, batch_size, -1, self.head_dim)
        output = self.reshape_to_concat(batch_size, output)
        return self.out(output), attn_score


class EncoderBlock(nn.Module):
    def __init__(self, emb_dim, num_heads):
        super().__init__()
        self.attention = MultiHeadAttention(emb_dim, num_heads)
        self.norm1, self.norm2 = nn.LayerNorm(emb_dim), nn.LayerNorm(emb_dim)
        self.ff = nn.Sequential(nn.Linear(emb_dim, 2 * emb_dim), nn.ReLU(), nn.Linear(2 * emb_dim, emb_dim))

    def forward(self, x):
        x = self.norm1(x + self.attention(x)[0])
        return self.norm2(x + self.ff(x))


class Tagger(nn.Module):
    def __init__(self, vocab=50, emb_dim=32, num_heads=4, tags=7):
        super().__init__()
        self.embed = nn.Embedding(vocab, emb_dim)
        self.block = EncoderBlock(emb_dim, num_heads)
        self.cls = nn.Linear(emb_dim, tags)

    def forward(self, ids):
        return self.cls(self.block(self.embed(ids)))


def build():
    return Tagger()


def step(model):
    ids, tags = torch.randint(0, 50, (8, 9)), torch.randint(0, 7, (8, 9))
    return nn.functional.cross_entropy(model(ids).transpose(1, 2), tags)


# real fix: view as (batch_size, num_heads, -1, head_dim)
TRUTH = dict(raises=None, at='function:view', culprits=['function:view'], dim=0, got=None, wanted=None,
             hint_any=['batch', 'heads', 'order', 'transpose', 'permute', 'mix'])
MENDED = [('output.view(self.num_heads, batch_size, -1, self.head_dim)', 'output.view(batch_size, self.num_heads, -1, self.head_dim)')]
