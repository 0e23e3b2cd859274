import torch
from torch import nn, einsum
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/long-short-transformer/issues/2'
CATEGORY = 'layer'
DESCRIPTION = 'Long-short attention, not causal: the heads are folded into the batch, the padding mask of the global keys is not repeated for them.'


def exists(val):
    return val is not None


def fold_heads(t, h):
    b, n, d = t.shape
    return t.reshape(b, n, h, d // h).permute(0, 2, 1, 3).reshape(b * h, n, d // h)


def unfold_heads(t, h):
    bh, n, d = t.shape
    return t.reshape(bh // h, h, n, d).permute(0, 2, 1, 3).reshape(bh // h, n, h * d)


def look_around(x, backward=1, forward=0, pad_value=-1, dim=2):
    t = x.shape[1]
    dims = (len(x.shape) - dim) * (0, 0)
    padded_x = F.pad(x, (*dims, backward, forward), value=pad_value)
    tensors = [padded_x[:, ind:(ind + t), ...] for ind in range(forward + backward + 1)]
    return torch.cat(tensors, dim=dim)


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)

    def forward(self, x, **kwargs):
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(), nn.Linear(dim * mult, dim))

    def forward(self, x):
        return self.net(x)


class LongShortAttention(nn.Module):
    def __init__(self, *, dim, heads=8, dim_head=64, window_size=128, r=1):
        super().__init__()
        inner_dim = heads * dim_head
        self.scale = dim_head ** -0.5
        self.heads = heads
        self.window_size = window_size
        self.to_dynamic_proj = nn.Linear(dim_head, r, bias=False)
        self.local_norm = nn.LayerNorm(dim_head)
        self.global_norm = nn.LayerNorm(dim_head)
        self.to_q = nn.Linear(dim, inner_dim, bias=False)
        self.to_kv = nn.Linear(dim, inner_dim, bias=False)
        self.to_out = nn.Linear(inner_dim, dim)

    def forward(self, x, mask=None):
        b, n, h, w = *x.shape[:2], self.heads, self.window_size
        windows = n // w
        mask_value = -torch.finfo(x.dtype).max

        q, kv = map(lambda t: fold_heads(t, h), (self.to_q(x), self.to_kv(x)))
        q = q * self.scale

        # local similarities, by windows
        lq, lkv = map(lambda t: t.reshape(t.shape[0], windows, w, t.shape[-1]), (q, kv))
        lkv = self.local_norm(look_around(lkv, backward=1, forward=1))
        lsim = einsum('b w i d, b w j d -> b w i j', lq, lkv)

        # global keys / values, equation (3) in the paper
        pkv = self.to_dynamic_proj(kv)
        if exists(mask):
            pkv.masked_fill_(~mask[..., None], mask_value)
        pkv = pkv.softmax(dim=-2)
        gkv = einsum('b n d, b n r -> b r d', kv, pkv)
        gkv = self.global_norm(gkv)
        gsim = einsum('b n d, b r d -> b n r', q, gkv)

        gkv = gkv.unsqueeze(1).expand(-1, windows, -1, -1)
        v = torch.cat((gkv, lkv), dim=-2)

        if exists(mask):
            mask = mask.reshape(b, windows, w).repeat_interleave(h, dim=0)
            mask = look_around(mask, pad_value=False, backward=1, forward=1)
            lsim.masked_fill_(~mask[:, :, None, :], mask_value)

        gsim = gsim.reshape(b * h, windows, w, -1)
        attn = torch.cat((gsim, lsim), dim=-1).softmax(dim=-1)
        out = einsum('b w i j, b w j d -> b w i d', attn, v)
        out = unfold_heads(out.reshape(b * h, n, -1), h)
        return self.to_out(out)


class LongShortTransformer(nn.Module):
    def __init__(self, *, num_tokens, dim, depth, window_size, dim_head, heads, r):
        super().__init__()
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.layers = nn.ModuleList([])
        for _ in range(depth):
            self.layers.append(nn.ModuleList([
                PreNorm(dim, LongShortAttention(dim=dim, heads=heads, dim_head=dim_head, window_size=window_size, r=r)),
                PreNorm(dim, FeedForward(dim)),
            ]))
        self.to_logits = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_tokens))

    def forward(self, x, mask=None):
        x = self.token_emb(x)
        for attn, ff in self.layers:
            x = attn(x, mask=mask) + x
            x = ff(x) + x
        return self.to_logits(x)


def build():
    torch.manual_seed(0)
    return LongShortTransformer(num_tokens=50, dim=32, depth=2, window_size=8, dim_head=8, heads=4, r=4)


def step(model):
    torch.manual_seed(1)
    x = torch.randint(0, 50, (4, 32))
    lengths = torch.tensor([32, 20, 11, 27])
    mask = torch.arange(32)[None, :] < lengths[:, None]
    logits = model(x, mask=mask)
    return F.cross_entropy(logits[mask], x[mask])


# real fix: pmask = repeat(mask, 'b n -> (b h) n', h = h); pkv.masked_fill_(~pmask[..., None], mask_value)
# offending tensor: ~mask[..., None] (4, 32, 1), pkv is (16, 32, 4)
TRUTH = dict(raises='RuntimeError', at='function:masked_fill_', culprits=['function:masked_fill_', 'function:getitem'], dim=0, got=4, wanted=16,
             hint_any=['head', 'repeat', 'repeat_interleave', 'mask', '16'])
MENDED = [('pkv.masked_fill_(~mask[..., None], mask_value)', 'pkv = pkv.masked_fill(~mask.repeat_interleave(h, dim=0)[..., None], mask_value)')]
