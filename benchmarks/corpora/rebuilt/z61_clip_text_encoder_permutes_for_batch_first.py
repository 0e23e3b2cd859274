import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/FlorianFuerrutter/genQC/issues/1'
CATEGORY = 'layer'
DESCRIPTION = 'The text transformer is batch first by now, its caller still brings the tokens to (length, batch, width): the mask of 12 meets 5 samples.'


class ResidualAttentionBlock(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = nn.MultiheadAttention(d_model, n_head, batch_first=True)
        self.ln_2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model))

    def forward(self, x, attn_mask=None):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads):
        super().__init__()
        self.resblocks = nn.ModuleList([ResidualAttentionBlock(width, heads) for _ in range(layers)])

    def forward(self, x, attn_mask=None):
        for r in self.resblocks:
            x = r(x, attn_mask=attn_mask)
        return x


class FrozenOpenCLIPEmbedder(nn.Module):
    def __init__(self, vocab=100, width=16, context=12):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(torch.randn(context, width) * 0.01)
        self.transformer = Transformer(width, 2, 4)
        self.ln_final = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab)
        self.register_buffer('attn_mask', torch.full((context, context), float('-inf')).triu_(1), persistent=False)

    def forward(self, tokens):
        x = self.token_embedding(tokens)
        x = x + self.positional_embedding
        x = x.permute(1, 0, 2)
        x = self.transformer(x, attn_mask=self.attn_mask)
        x = x.permute(1, 0, 2)
        return self.head(self.ln_final(x))


def build():
    torch.manual_seed(0)
    return FrozenOpenCLIPEmbedder()


def step(model):
    tokens = torch.randint(0, 100, (5, 12))
    logits = model(tokens)
    return F.cross_entropy(logits[:, :-1].reshape(-1, 100), tokens[:, 1:].reshape(-1))


TRUTH = dict(raises='RuntimeError', at='module:transformer.resblocks.0.attn', culprits=['function:permute', 'transformer.resblocks.0.attn'], dim=None, got=12, wanted=5, hint_any=['permute', 'batch_first'])
MENDED = [('        x = x.permute(1, 0, 2)\n        x = self.transformer(x, attn_mask=self.attn_mask)\n        x = x.permute(1, 0, 2)\n', '        x = self.transformer(x, attn_mask=self.attn_mask)\n')]
