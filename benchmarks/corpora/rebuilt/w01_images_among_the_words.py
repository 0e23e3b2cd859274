import torch
from torch import nn, einsum

SOURCE = 'https://github.com/lucidrains/flamingo-pytorch/issues/10'
CATEGORY = 'silent'
DESCRIPTION = 'Visual language model: gated cross attention from the words to the resampled images of the text.'


def exists(val):
    return val is not None


def feed_forward(dim, mult=4):
    inner_dim = int(dim * mult)
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, inner_dim, bias=False), nn.GELU(),
                         nn.Linear(inner_dim, dim, bias=False))


def split_heads(t, h):
    b, n, d = t.shape
    return t.reshape(b, n, h, d // h).transpose(1, 2)


class MaskedCrossAttention(nn.Module):
    def __init__(self, *, dim, dim_head=8, heads=4, only_attend_immediate_media=True):
        super().__init__()
        self.scale = dim_head ** -0.5
        self.heads = heads
        inner_dim = dim_head * heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner_dim, bias=False)
        self.to_kv = nn.Linear(dim, inner_dim * 2, bias=False)
        self.to_out = nn.Linear(inner_dim, dim, bias=False)
        self.only_attend_immediate_media = only_attend_immediate_media

    def forward(self, x, media, media_locations=None):
        b, t, m = media.shape[:3]
        h = self.heads

        q = self.to_q(self.norm(x))
        media = media.reshape(b, t * m, -1)
        k, v = self.to_kv(media).chunk(2, dim=-1)
        q, k, v = (split_heads(a, h) for a in (q, k, v))
        q = q * self.scale

        sim = einsum('... i d, ... j d -> ... i j', q, k)

        if exists(media_locations):
            text_time = media_locations.cumsum(dim=-1)
            media_time = torch.arange(t, device=x.device) + 1
            mask_op = torch.eq if self.only_attend_immediate_media else torch.ge
            text_to_media_mask = mask_op(text_time[:, None, :, None], media_time.repeat_interleave(m)[None, None, None])
            sim = sim.masked_fill(~text_to_media_mask, -torch.finfo(sim.dtype).max)

        sim = sim - sim.amax(dim=-1, keepdim=True).detach()
        attn = sim.softmax(dim=-1)

        if exists(media_locations) and self.only_attend_immediate_media:
            text_without_media_mask = (text_time == 0)[:, None, :, None]
            attn.masked_fill(text_without_media_mask, 0.)

        out = einsum('... i j, ... j d -> ... i d', attn, v)
        out = out.transpose(1, 2).reshape(b, x.shape[1], -1)
        return self.to_out(out)


class GatedCrossAttentionBlock(nn.Module):
    def __init__(self, *, dim, dim_head=8, heads=4):
        super().__init__()
        self.attn = MaskedCrossAttention(dim=dim, dim_head=dim_head, heads=heads)
        self.attn_gate = nn.Parameter(torch.tensor([0.5]))
        self.ff = feed_forward(dim)
        self.ff_gate = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x, media, media_locations=None):
        x = self.attn(x, media, media_locations=media_locations) * self.attn_gate.tanh() + x
        return self.ff(x) * self.ff_gate.tanh() + x


class Flamingo(nn.Module):
    def __init__(self, num_tokens=60, dim=32, depth=2):
        super().__init__()
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.blocks = nn.ModuleList([
            nn.ModuleList([GatedCrossAttentionBlock(dim=dim), nn.GRU(dim, dim, batch_first=True)]) for _ in range(depth)])
        self.to_logits = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_tokens))
        self.media_token_id = 3

    def forward(self, text, media):
        media_locations = text == self.media_token_id
        x = self.token_emb(text)
        for cross, lm in self.blocks:
            x = cross(x, media, media_locations)
            x = x + lm(x)[0]
        return self.to_logits(x)


def build():
    return Flamingo()


def step(model):
    text = torch.randint(4, 60, (4, 20))
    for row, places in zip(text, ((6, 13), (4, 10), (8, 15), (5, 9))):
        row[list(places)] = model.media_token_id
    media = torch.randn(4, 2, 6, 32)
    logits = model(text[:, :-1], media)
    return nn.functional.cross_entropy(logits.transpose(1, 2), text[:, 1:])


# words before the first image are to attend to nothing; masked_fill gives a new tensor that is thrown away
# real fix: attn = attn.masked_fill(text_without_media_mask, 0.)
TRUTH = dict(raises=None, at='function:masked_fill', culprits=['function:masked_fill'], dim=None, got=None, wanted=None,
             hint_any=['masked_fill', 'in place', 'in-place', 'masked_fill_', 'discard', 'unused', 'thrown away', 'not used', 'no effect'])
MENDED = [('            attn.masked_fill(text_without_media_mask', '            attn = attn.masked_fill(text_without_media_mask')]
