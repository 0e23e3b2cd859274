import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/AILab-CVC/VideoCrafter/issues/38'
CATEGORY = 'layer'
DESCRIPTION = 'Cross attention with an image branch: the heads of out are folded back twice, those of out_ip never.'


def split_heads(t, h):
    b, n, _ = t.shape
    return t.reshape(b, n, h, -1).permute(0, 2, 1, 3).reshape(b * h, n, -1)


def merge_heads(t, h):
    bh, n, d = t.shape
    return t.view(bh // h, h, n, d).permute(0, 2, 1, 3).reshape(bh // h, n, h * d)


class CrossAttention(nn.Module):
    def __init__(self, query_dim, context_dim=None, heads=4, dim_head=8, dropout=0.0, img_cross_attention=False, text_context_len=11):
        super().__init__()
        inner, context_dim = heads * dim_head, context_dim or query_dim
        self.scale, self.heads = dim_head ** -0.5, heads
        self.text_context_len, self.img_cross_attention = text_context_len, img_cross_attention
        self.to_q = nn.Linear(query_dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, query_dim), nn.Dropout(dropout))
        if img_cross_attention:
            self.to_k_ip = nn.Linear(context_dim, inner, bias=False)
            self.to_v_ip = nn.Linear(context_dim, inner, bias=False)

    def forward(self, x, context=None):
        h, context_img = self.heads, None
        q = self.to_q(x)
        context = x if context is None else context
        if self.img_cross_attention:
            context, context_img = context[:, :self.text_context_len], context[:, self.text_context_len:]
        k, v = self.to_k(context), self.to_v(context)
        q, k, v = (split_heads(t, h) for t in (q, k, v))

        sim = torch.einsum('b i d, b j d -> b i j', q, k) * self.scale
        out = torch.einsum('b i j, b j d -> b i d', sim.softmax(dim=-1), v)
        out = merge_heads(out, h)

        if context_img is not None:
            k_ip, v_ip = self.to_k_ip(context_img), self.to_v_ip(context_img)
            k_ip, v_ip = (split_heads(t, h) for t in (k_ip, v_ip))
            sim_ip = torch.einsum('b i d, b j d -> b i j', q, k_ip) * self.scale
            out_ip = torch.einsum('b i j, b j d -> b i d', sim_ip.softmax(dim=-1), v_ip)
            out_ip = merge_heads(out, h)
            out = out + out_ip
        return self.to_out(out)


class BasicTransformerBlock(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.attn1 = CrossAttention(dim)
        self.attn2 = CrossAttention(dim, context_dim, img_cross_attention=True)
        self.ff = nn.Sequential(nn.Linear(dim, dim * 4), nn.GELU(), nn.Linear(dim * 4, dim))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class VideoUNet(nn.Module):
    def __init__(self, ch=32, context_dim=24, steps=1000):
        super().__init__()
        self.time_embed = nn.Embedding(steps, ch)
        self.conv_in = nn.Sequential(nn.Conv2d(4, ch, 3, padding=1), nn.GroupNorm(8, ch), nn.SiLU())
        self.block = BasicTransformerBlock(ch, context_dim)
        self.temporal = nn.Conv1d(ch, ch, 3, padding=1)
        self.conv_out = nn.Conv2d(ch, 4, 3, padding=1)

    def forward(self, x, t, context):
        b, c, f, h, w = x.shape
        x = self.conv_in(x.transpose(1, 2).reshape(b * f, c, h, w))
        x = x + self.time_embed(t).repeat_interleave(f, 0)[:, :, None, None]
        tokens = self.block(x.flatten(2).transpose(1, 2), context.repeat_interleave(f, 0))
        x = tokens.transpose(1, 2)
        seq = x.reshape(b, f, -1, h * w).permute(0, 3, 2, 1).flatten(0, 1)
        x = x + self.temporal(seq).unflatten(0, (b, h * w)).permute(0, 3, 2, 1).flatten(0, 1)
        return self.conv_out(x.reshape(b * f, -1, h, w)).view(b, f, c, h, w).transpose(1, 2)


def build():
    return VideoUNet()


def step(model):
    latents, noise = torch.randn(2, 4, 3, 5, 8), torch.randn(2, 4, 3, 5, 8)
    text, image = torch.randn(2, 11, 24), torch.randn(2, 16, 24)
    t = torch.randint(0, 1000, (2,))
    alpha = torch.cos(t / 1000 * 1.57).view(-1, 1, 1, 1, 1)
    noisy = alpha * latents + (1 - alpha ** 2).sqrt() * noise
    return F.mse_loss(model(noisy, t, torch.cat([text, image], dim=1)), noise)


# real fix: out_ip = merge_heads(out_ip, h)
# offending tensor: out (6, 40, 32), already folded: 6 cannot be cut into heads of 4
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'block.attn2', 'function:reshape'], dim=0, got=6, wanted=24,
             hint_any=['head', '24', 'out_ip', 'merge_heads'])
MENDED = [('out_ip = merge_heads(out, h)', 'out_ip = merge_heads(out_ip, h)')]
