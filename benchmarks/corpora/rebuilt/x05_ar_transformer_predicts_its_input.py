import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Project-MONAI/GenerativeModels/issues/314'
CATEGORY = 'silent'
DESCRIPTION = 'Autoregressive transformer over codebook indices: causal attention sees tokens 0..N and the cross entropy asks for token N itself; nothing is shifted.'


class CausalSelfAttention(nn.Module):
    def __init__(self, dim, heads, max_len):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out_proj = nn.Linear(dim, dim)
        self.register_buffer('causal_mask', torch.tril(torch.ones(max_len, max_len)).view(1, 1, max_len, max_len))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (f(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        scores = q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5
        scores = scores.masked_fill(self.causal_mask[:, :, :t, :t] == 0, float('-inf'))
        y = F.softmax(scores, dim=-1) @ v
        return self.out_proj(y.transpose(1, 2).contiguous().view(b, t, c))


class TransformerBlock(nn.Module):
    def __init__(self, dim, heads, max_len):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = CausalSelfAttention(dim, heads, max_len)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DecoderOnlyTransformer(nn.Module):
    def __init__(self, num_tokens=33, max_seq_len=17, dim=32, layers=2, heads=4):
        super().__init__()
        self.token_embeddings = nn.Embedding(num_tokens, dim)
        self.position_embeddings = nn.Embedding(max_seq_len, dim)
        self.blocks = nn.ModuleList([TransformerBlock(dim, heads, max_seq_len) for _ in range(layers)])
        self.to_logits = nn.Linear(dim, num_tokens)

    def forward(self, x):
        pos = torch.arange(x.shape[1], device=x.device)
        h = self.token_embeddings(x) + self.position_embeddings(pos)
        for block in self.blocks:
            h = block(h)
        return self.to_logits(h)


class VQVAETransformerInferer:
    def __init__(self, num_embeddings, ordering):
        self.num_embeddings, self.ordering = num_embeddings, ordering

    def __call__(self, latent, transformer):
        latent = latent.reshape(latent.shape[0], -1)
        latent = latent[:, self.ordering]
        latent = F.pad(latent, (1, 0), 'constant', self.num_embeddings).long()
        return transformer(latent).transpose(1, 2), latent


def index_quantize(images, codebook):
    b, c, h, w = images.shape
    flat = images.permute(0, 2, 3, 1).reshape(-1, c)
    return torch.cdist(flat, codebook).argmin(dim=1).view(b, h, w)


def build():
    return DecoderOnlyTransformer()


def step(model):
    latents = index_quantize(torch.randn(17, 3, 4, 4), torch.randn(32, 3))
    inferer = VQVAETransformerInferer(32, torch.arange(16))
    ce_loss = nn.CrossEntropyLoss()
    logits, quantizations_target = inferer(latents, model)
    loss = ce_loss(logits, quantizations_target)
    return loss


# real fix: ce_loss(logits[:, :, :-1], quantizations_target[:, 1:])
TRUTH = dict(raises=None, at='loss:cross_entropy', culprits=['target', 'function:cross_entropy'], dim=None, got=None, wanted=None,
             hint_any=['shift', 'next token', '1:', ':-1'])
MENDED = [('ce_loss(logits, quantizations_target)', 'ce_loss(logits[:, :, :-1], quantizations_target[:, 1:])')]
