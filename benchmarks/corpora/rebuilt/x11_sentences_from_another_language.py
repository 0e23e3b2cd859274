from math import sqrt
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Khaliladib11/Transformer-from-scratch/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Transformer from scratch for translation: encoder and decoder blocks share one attention class with key, query and value.'


class MultiHeadAttention(nn.Module):
    def __init__(self, embed_dim=32, heads=4):
        super().__init__()
        self.embed_dim = embed_dim
        self.heads = heads
        self.head = int(embed_dim / heads)
        self.query = nn.Linear(self.head, self.head, bias=False)
        self.value = nn.Linear(self.head, self.head, bias=False)
        self.key = nn.Linear(self.head, self.head, bias=False)
        self.fc_out = nn.Linear(self.head * heads, embed_dim)

    def forward(self, key, query, value, mask=None):
        batch_size = key.size(0)
        k_len, q_len, v_len = key.size(1), query.size(1), value.size(1)

        key = key.reshape(batch_size, k_len, self.heads, self.head)
        query = key.reshape(batch_size, q_len, self.heads, self.head)
        value = key.reshape(batch_size, v_len, self.heads, self.head)

        key = self.key(key)
        query = self.key(query)
        value = self.key(value)

        product = torch.einsum("bqhd,bkhd->bhqk", [query, key])
        if mask is not None:
            product = product.masked_fill(mask == 0, float("-1e20"))
        product = product / sqrt(self.head)
        scores = F.softmax(product, dim=-1)
        output = torch.einsum("nhql,nlhd->nqhd", [scores, value]).reshape(
            batch_size, q_len, self.heads * self.head
        )
        return self.fc_out(output)


class TransformerBlock(nn.Module):
    def __init__(self, embed_dim, heads, expansion_factor=2, dropout=0.1):
        super().__init__()
        self.attention = MultiHeadAttention(embed_dim, heads)
        self.norm1, self.norm2 = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        self.feed_forward = nn.Sequential(nn.Linear(embed_dim, expansion_factor * embed_dim), nn.ReLU(),
                                          nn.Linear(expansion_factor * embed_dim, embed_dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, key, query, value, mask=None):
        attention_out = self.dropout(self.norm1(self.attention(key, query, value, mask) + query))
        return self.dropout(self.norm2(self.feed_forward(attention_out) + attention_out))


class DecoderBlock(nn.Module):
    def __init__(self, embed_dim, heads, dropout=0.1):
        super().__init__()
        self.attention = MultiHeadAttention(embed_dim, heads)
        self.norm = nn.LayerNorm(embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.transformer_block = TransformerBlock(embed_dim, heads)

    def forward(self, key, value, x, src_mask, tgt_mask):
        query = self.dropout(self.norm(self.attention(x, x, x, tgt_mask) + x))
        return self.transformer_block(key, query, value, src_mask)


class Transformer(nn.Module):
    def __init__(self, vocab=40, embed_dim=32, heads=4, layers=2, max_len=12):
        super().__init__()
        self.src_embedding, self.tgt_embedding = nn.Embedding(vocab, embed_dim), nn.Embedding(vocab, embed_dim)
        self.positional_encoder = nn.Embedding(max_len, embed_dim)
        self.encoder = nn.ModuleList([TransformerBlock(embed_dim, heads) for _ in range(layers)])
        self.decoder = nn.ModuleList([DecoderBlock(embed_dim, heads) for _ in range(layers)])
        self.fc_out = nn.Linear(embed_dim, vocab)

    def forward(self, source, target):
        position = self.positional_encoder.weight
        src_mask = (source != 0)[:, None, None, :]
        tgt_mask = torch.tril(torch.ones(target.size(1), target.size(1)))[None, None]
        memory = self.src_embedding(source) + position[:source.size(1)]
        for block in self.encoder:
            memory = block(memory, memory, memory, src_mask)
        x = self.tgt_embedding(target) + position[:target.size(1)]
        for block in self.decoder:
            x = block(memory, memory, x, src_mask, tgt_mask)
        return self.fc_out(x)


def build():
    return Transformer()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        source = torch.randint(1, 40, (6, 10))
        source[:3, 7:] = 0
        target = torch.randint(1, 40, (6, 11))
        out = model(source, target[:, :-1])
        loss = F.cross_entropy(out.reshape(-1, 40), target[:, 1:].reshape(-1), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# query and value are made of key and by the layer of the key; the layers query and value are never called and the
# attention over the source never sees the target; real fix: query.reshape, value.reshape, self.query, self.value
_blocks = ['encoder.0', 'encoder.1', 'decoder.0', 'decoder.1', 'decoder.0.transformer_block', 'decoder.1.transformer_block']
TRUTH = dict(raises=None, at='function:reshape',
             culprits=['function:reshape'] + [b + '.attention' + s for b in _blocks for s in ('', '.key', '.query', '.value')],
             dim=None, got=None, wanted=None, hint_any=['never', 'unused', 'not used', 'same', 'query', 'three times'])
MENDED = [('query = key.reshape(', 'query = query.reshape('), ('value = key.reshape(', 'value = value.reshape('),
          ('query = self.key(query)', 'query = self.query(query)'), ('value = self.key(value)', 'value = self.value(value)')]
