import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/salesforce/EDICT/issues/11 ([32, 4096, 40] against [8, 77, 40])'
CATEGORY = 'layer'
DESCRIPTION = 'Diffusion inversion of four images at once: the prompt is encoded a single time, so that the cross attention folds 4 x heads queries and 1 x heads keys.'


class CrossAttention(nn.Module):
    def __init__(self, query_dim, context_dim, heads=4, dim_head=8):
        super().__init__()
        inner = heads * dim_head
        self.heads, self.scale = heads, dim_head ** -0.5
        self.to_q = nn.Linear(query_dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim, inner, bias=False)
        self.to_out = nn.Linear(inner, query_dim)

    def reshape_heads_to_batch_dim(self, t):
        b, n, d = t.shape
        t = t.reshape(b, n, self.heads, d // self.heads)
        return t.permute(0, 2, 1, 3).reshape(b * self.heads, n, d // self.heads)

    def reshape_batch_dim_to_heads(self, t):
        bh, n, d = t.shape
        t = t.reshape(bh // self.heads, self.heads, n, d)
        return t.permute(0, 2, 1, 3).reshape(bh // self.heads, n, d * self.heads)

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = (self.reshape_heads_to_batch_dim(t) for t in (self.to_q(x), self.to_k(context), self.to_v(context)))
        attn = torch.einsum('b i d, b j d -> b i j', q, k) * self.scale
        out = torch.einsum('b i j, b j d -> b i d', attn.softmax(dim=-1), v)
        return self.to_out(self.reshape_batch_dim_to_heads(out))


class Block(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.attn1 = CrossAttention(dim, dim)
        self.attn2 = CrossAttention(dim, context_dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        return x + self.attn2(self.norm2(x), context)


class Pipe(nn.Module):
    def __init__(self, dim=32, context_dim=24):
        super().__init__()
        self.text_encoder = nn.Embedding(100, context_dim)
        self.vae = nn.Conv2d(3, 4, 8, 8)
        self.conv_in = nn.Conv2d(4, dim, 3, padding=1)
        self.blocks = nn.ModuleList(Block(dim, context_dim) for _ in range(2))
        self.conv_out = nn.Conv2d(dim, 4, 3, padding=1)

    def unet(self, latent, context):
        h = self.conv_in(latent)
        b, c, height, width = h.shape
        h = h.flatten(2).transpose(1, 2)
        for block in self.blocks:
            h = block(h, context)
        return self.conv_out(h.transpose(1, 2).reshape(b, c, height, width))


def tokenize(prompt, length=16):
    ids = [1 + hash(w) % 99 for w in prompt.split()]
    return torch.tensor([(ids + [0] * length)[:length]])


def build():
    return Pipe()


def step(model):
    images = torch.randn(4, 3, 64, 64)
    context = model.text_encoder(tokenize('a photo of a dog'))
    latent = model.vae(images)
    noise = torch.randn_like(latent)
    pred = model.unet(0.7 * latent + 0.7 * noise, context)
    return F.mse_loss(pred, noise)


# real fix: one prompt embedding for every image
TRUTH = dict(raises='RuntimeError', at='function:einsum', culprits=['input', 'text_encoder'], dim=0, got=None, wanted=None,
             hint_any=['batch', 'repeat', 'expand', 'prompt', 'context', '16'])
MENDED = [("context = model.text_encoder(tokenize('a photo of a dog'))", "context = model.text_encoder(tokenize('a photo of a dog')).repeat(len(images), 1, 1)")]
