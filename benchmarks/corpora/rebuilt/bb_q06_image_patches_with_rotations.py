import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/pytorch-image-models/issues/2549 (where the batch dimension comes from is read from the sizes: 12 heads against a batch of 8)'
CATEGORY = 'layer'
DESCRIPTION = ('EVA with rotary embeddings and patch dropout: the table of rotations is gathered for the kept patches of every image and so becomes '
               '(batch, patches, 2 * head width); beside (batch, heads, patches, head width) its batch lies under the heads.')


class PatchDropout(nn.Module):
    def __init__(self, prob, num_prefix_tokens=1):
        super().__init__()
        self.prob, self.num_prefix_tokens = prob, num_prefix_tokens

    def forward(self, x):
        if not self.training or self.prob == 0.:
            return x, None
        prefix_tokens, x = x[:, :self.num_prefix_tokens], x[:, self.num_prefix_tokens:]
        B, L = x.shape[:2]
        num_keep = max(1, int(L * (1. - self.prob)))
        keep_indices = torch.argsort(torch.randn(B, L), dim=-1)[:, :num_keep]
        x = x.gather(1, keep_indices.unsqueeze(-1).expand((-1, -1) + x.shape[2:]))
        return torch.cat((prefix_tokens, x), dim=1), keep_indices


def apply_keep_indices_nlc(x, pos_embed, keep_indices):
    pos_embed = pos_embed.unsqueeze(0).expand(x.shape[0], -1, -1)
    return pos_embed.gather(1, keep_indices.unsqueeze(-1).expand(-1, -1, pos_embed.shape[-1]))


def rot(x):
    return torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)


def apply_rot_embed_cat(x, emb):
    sin_emb, cos_emb = emb.tensor_split(2, -1)
    return x * cos_emb + rot(x) * sin_emb


class RotaryEmbeddingCat(nn.Module):
    def __init__(self, dim, feat_shape, temperature=10000.):
        super().__init__()
        bands = 1. / (temperature ** (torch.arange(0, dim // 4) / (dim // 4)))
        grid = torch.stack(torch.meshgrid([torch.arange(s).float() for s in feat_shape], indexing='ij'), dim=-1)
        pos = grid.unsqueeze(-1) * bands
        n = math.prod(feat_shape)
        emb = [f(pos).reshape(n, -1).repeat_interleave(2, -1) for f in (torch.sin, torch.cos)]
        self.register_buffer('pos_embed', torch.cat(emb, -1), persistent=False)

    def get_embed(self):
        return self.pos_embed


class EvaAttention(nn.Module):
    def __init__(self, dim, num_heads=8, num_prefix_tokens=1):
        super().__init__()
        self.num_heads, self.num_prefix_tokens = num_heads, num_prefix_tokens
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, rope=None):
        B, N, C = x.shape
        qkv = F.linear(x, self.qkv.weight, torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias)))
        q, k, v = qkv.reshape(B, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if rope is not None:
            npt = self.num_prefix_tokens
            q = torch.cat([q[:, :, :npt, :], apply_rot_embed_cat(q[:, :, npt:, :], rope)], dim=2).type_as(v)
            k = torch.cat([k[:, :, :npt, :], apply_rot_embed_cat(k[:, :, npt:, :], rope)], dim=2).type_as(v)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class EvaBlock(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = EvaAttention(dim, num_heads)
        self.mlp = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Linear(dim * 2, dim))

    def forward(self, x, rope=None):
        x = x + self.attn(self.norm1(x), rope=rope)
        return x + self.mlp(self.norm2(x))


class Eva(nn.Module):
    def __init__(self, img_size=32, patch_size=8, embed_dim=96, depth=2, num_heads=12, num_classes=5, patch_drop_rate=0., use_rot_pos_emb=True):
        super().__init__()
        self.grid_size = (img_size // patch_size,) * 2
        self.patch_embed = nn.Conv2d(3, embed_dim, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.randn(1, math.prod(self.grid_size) + 1, embed_dim) * .02)
        self.patch_drop = PatchDropout(patch_drop_rate)
        self.rope = RotaryEmbeddingCat(embed_dim // num_heads, self.grid_size) if use_rot_pos_emb else None
        self.blocks = nn.ModuleList([EvaBlock(embed_dim, num_heads) for _ in range(depth)])
        self.fc_norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)

    def _pos_embed(self, x):
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        rot_pos_embed = self.rope.get_embed() if self.rope is not None else None
        x, keep_indices = self.patch_drop(x)
        if rot_pos_embed is not None and keep_indices is not None:
            rot_pos_embed = apply_keep_indices_nlc(x, rot_pos_embed, keep_indices)
        return x, rot_pos_embed

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x, rot_pos_embed = self._pos_embed(x)
        for blk in self.blocks:
            x = blk(x, rope=rot_pos_embed)
        return self.head(self.fc_norm(x[:, 1:].mean(1)))


def build():
    torch.manual_seed(0)
    return Eva(patch_drop_rate=0.5)


def step(model):
    torch.manual_seed(1)
    images, labels = torch.randn(8, 3, 32, 32), torch.randint(0, 5, (8,))
    return F.cross_entropy(model(images), labels)


# real fix: an axis for the heads in the gathered table, (batch, 1, patches, 2 * head width)
# offending tensor: cos_emb (8, 8, 8) beside x (8, 12, 8, 8)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:gather', 'function:unsqueeze', 'function:tensor_split'], dim=0, got=8, wanted=12,
             hint_any=['unsqueeze', 'batch', 'heads', '12'])
MENDED = [('keep_indices.unsqueeze(-1).expand(-1, -1, pos_embed.shape[-1]))', 'keep_indices.unsqueeze(-1).expand(-1, -1, pos_embed.shape[-1])).unsqueeze(1)')]
