import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/reczoo/FuxiCTR/issues/30'
CATEGORY = 'silent'
DESCRIPTION = 'AutoInt: (B, fields, heads*dim) is viewed as (B*heads, fields, dim) without a transpose: a head is a few fields, not a slice of features.'


class ScaledDotProductAttention(nn.Module):
    def __init__(self, dropout_rate=0.):
        super().__init__()
        self.dropout = nn.Dropout(dropout_rate)

    def forward(self, Q, K, V, scale=None):
        scores = torch.bmm(Q, K.transpose(1, 2))
        if scale:
            scores = scores / scale
        attention = self.dropout(F.softmax(scores, dim=2))
        return torch.bmm(attention, V)


class MultiHeadSelfAttention(nn.Module):
    def __init__(self, input_dim, attention_dim=8, num_heads=4, use_residual=True):
        super().__init__()
        self.attention_dim = attention_dim
        self.num_heads = num_heads
        self.output_dim = num_heads * attention_dim
        self.scale = attention_dim ** 0.5
        self.W_q = nn.Linear(input_dim, self.output_dim, bias=False)
        self.W_k = nn.Linear(input_dim, self.output_dim, bias=False)
        self.W_v = nn.Linear(input_dim, self.output_dim, bias=False)
        self.W_res = nn.Linear(input_dim, self.output_dim, bias=False) if use_residual else None
        self.dot_attention = ScaledDotProductAttention()

    def split(self, x):
        return x.view(x.size(0) * self.num_heads, -1, self.attention_dim)

    def merge(self, x, batch_size):
        return x.view(batch_size, -1, self.output_dim)

    def forward(self, X):
        batch_size = X.size(0)
        query, key, value = self.split(self.W_q(X)), self.split(self.W_k(X)), self.split(self.W_v(X))
        output = self.merge(self.dot_attention(query, key, value, scale=self.scale), batch_size)
        if self.W_res is not None:
            output = output + self.W_res(X)
        return output.relu()


class AutoInt(nn.Module):
    def __init__(self, vocab_sizes, embedding_dim=16, attention_layers=2):
        super().__init__()
        self.embedding_layer = nn.ModuleList(nn.Embedding(v, embedding_dim) for v in vocab_sizes)
        self.lr_layer = nn.ModuleList(nn.Embedding(v, 1) for v in vocab_sizes)
        self.self_attention = nn.Sequential(*[
            MultiHeadSelfAttention(embedding_dim if i == 0 else 32) for i in range(attention_layers)])
        self.fc = nn.Linear(len(vocab_sizes) * 32, 1)

    def forward(self, X):
        feature_emb = torch.stack([emb(X[:, i]) for i, emb in enumerate(self.embedding_layer)], dim=1)
        attention_out = self.self_attention(feature_emb)
        y = self.fc(attention_out.flatten(start_dim=1))
        return y + sum(emb(X[:, i]) for i, emb in enumerate(self.lr_layer))


VOCAB = [20, 50, 7, 12, 30, 5, 9, 40]


def build():
    return AutoInt(VOCAB)


def step(model):
    X = torch.stack([torch.randint(0, v, (16,)) for v in VOCAB], dim=1)
    y = torch.randint(0, 2, (16, 1)).float()
    return F.binary_cross_entropy_with_logits(model(X), y)


# real fix: view(batch, fields, heads, dim).transpose(1, 2), and back
TRUTH = dict(raises=None, at='function:view', culprits=['function:view', 'self_attention.0', 'self_attention.1', 'self_attention'],
             dim=None, got=None, wanted=None, hint_any=['transpose', 'permute', 'heads', 'mix'])
MENDED = [('return x.view(x.size(0) * self.num_heads, -1, self.attention_dim)',
           'return x.view(x.size(0), -1, self.num_heads, self.attention_dim).transpose(1, 2).flatten(0, 1)'),
          ('return x.view(batch_size, -1, self.output_dim)',
           'return x.view(batch_size, self.num_heads, -1, self.attention_dim).transpose(1, 2).flatten(2)')]
