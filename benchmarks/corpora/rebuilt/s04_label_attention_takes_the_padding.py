import torch
import torch.nn as nn
import torch.nn.functional as F
from dataclasses import dataclass

SOURCE = 'https://github.com/InseeFrLab/torchTextClassifiers/pull/92'
CATEGORY = 'silent'
DESCRIPTION = 'LabelAttention hands scaled_dot_product_attention a boolean mask that is True at the padding, where True means "takes part".'


@dataclass
class LabelAttentionConfig:
    n_head: int = 4
    num_classes: int = 6


def norm(x):
    return F.rms_norm(x, (x.size(-1),))


class SelfAttention(nn.Module):
    def __init__(self, dim, n_head):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, n_head, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, padding):
        y = norm(x)
        x = x + self.attn(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        return x + self.mlp(norm(x))


class LabelAttention(nn.Module):
    def __init__(self, embedding_dim, config):
        super().__init__()
        self.n_head, self.num_classes = config.n_head, config.num_classes
        self.head_dim = embedding_dim // config.n_head
        self.label_embeds = nn.Embedding(config.num_classes, embedding_dim)
        self.c_q = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.c_k = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.c_v = nn.Linear(embedding_dim, embedding_dim, bias=False)
        self.c_proj = nn.Linear(embedding_dim, embedding_dim, bias=False)

    def forward(self, token_embeddings, padding):
        B, T, C = token_embeddings.size()
        labels = torch.arange(self.num_classes).unsqueeze(0).expand(B, -1)
        label_embeds = norm(self.label_embeds(labels))
        q = self.c_q(label_embeds).view(B, self.num_classes, self.n_head, self.head_dim).transpose(1, 2)
        k = self.c_k(token_embeddings).view(B, T, self.n_head, self.head_dim).transpose(1, 2)
        v = self.c_v(token_embeddings).view(B, T, self.n_head, self.head_dim).transpose(1, 2)
        attn_mask = padding.view(B, 1, 1, T)
        y = F.scaled_dot_product_attention(norm(q), norm(k), v, attn_mask=attn_mask)
        y = y.transpose(1, 2).contiguous().view(B, self.num_classes, C)
        return self.c_proj(y)


class TextClassificationModel(nn.Module):
    def __init__(self, vocab_size=60, dim=16, n_layer=2, padding_idx=0):
        super().__init__()
        config = LabelAttentionConfig()
        self.padding_idx = padding_idx
        self.embedding_layer = nn.Embedding(vocab_size, dim, padding_idx=padding_idx)
        self.blocks = nn.ModuleList([SelfAttention(dim, config.n_head) for _ in range(n_layer)])
        self.label_attention = LabelAttention(dim, config)
        self.classification_head = nn.Linear(dim, 1)

    def forward(self, input_ids):
        padding = input_ids == self.padding_idx
        x = self.embedding_layer(input_ids)
        for block in self.blocks:
            x = block(x, padding)
        return self.classification_head(self.label_attention(norm(x), padding)).squeeze(-1)


def tokenize(n, max_length=12, vocab_size=60):
    ids = torch.zeros(n, max_length, dtype=torch.long)
    for row in ids:
        length = int(torch.randint(3, max_length - 1, ()))
        row[:length] = torch.randint(1, vocab_size, (length,))
    return ids


def build():
    return TextClassificationModel()


def step(model):
    input_ids, y = tokenize(4), torch.randint(0, 6, (4,))
    loss = F.cross_entropy(model(input_ids), y)
    loss.backward()
    return loss.detach()


# nn.MultiheadAttention wants True where the key is left out, scaled_dot_product_attention True where it takes part: ~padding
TRUTH = dict(raises=None, at='function:scaled_dot_product_attention', culprits=['function:scaled_dot_product_attention', 'label_attention'],
             dim=None, got=None, wanted=None, hint_any=['mask', 'invert', '~', 'padding', 'true'])
MENDED = [('attn_mask = padding.view(B, 1, 1, T)', 'attn_mask = ~padding.view(B, 1, 1, T)')]
