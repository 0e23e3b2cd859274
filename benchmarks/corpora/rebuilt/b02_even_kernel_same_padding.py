import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/conformer/issues/1 (cause and 1026/1024 from the thread, where the residuals stand is reconstructed)'
CATEGORY = 'layer'
DESCRIPTION = 'Conformer convolution module pads k//2 on both sides of an even depthwise kernel; after two blocks in one layer the residual is two frames shorter.'


class Swish(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


class GLU(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        out, gate = x.chunk(2, dim=self.dim)
        return out * gate.sigmoid()


class Transpose(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


def calc_same_padding(kernel_size):
    pad = kernel_size // 2
    return (pad, pad)


class DepthWiseConv1d(nn.Module):
    def __init__(self, chan_in, chan_out, kernel_size, padding):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv1d(chan_in, chan_out, kernel_size, groups=chan_in)

    def forward(self, x):
        x = F.pad(x, self.padding)
        return self.conv(x)


class Scale(nn.Module):
    def __init__(self, scale, fn):
        super().__init__()
        self.fn, self.scale = fn, scale

    def forward(self, x, **kwargs):
        return self.fn(x, **kwargs) * self.scale


class Attention(nn.Module):
    def __init__(self, dim, heads=4, dropout=0.):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.heads = heads
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)
        self.dropout = dropout

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.)
        return self.to_out(out.transpose(1, 2).reshape(b, n, d))


def feed_forward(dim, mult=4, dropout=0.):
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim * mult), Swish(), nn.Dropout(dropout), nn.Linear(dim * mult, dim), nn.Dropout(dropout))


def conv_module(dim, expansion_factor=2, kernel_size=31, dropout=0.):
    inner = dim * expansion_factor
    return nn.Sequential(nn.LayerNorm(dim), Transpose(), nn.Conv1d(dim, inner * 2, 1), GLU(dim=1),
                         DepthWiseConv1d(inner, inner, kernel_size=kernel_size, padding=calc_same_padding(kernel_size)),
                         nn.BatchNorm1d(inner), Swish(), nn.Conv1d(inner, dim, 1), Transpose(), nn.Dropout(dropout))


class ConformerBlock(nn.Module):
    def __init__(self, dim, conv_kernel_size, dropout=0.1):
        super().__init__()
        self.ff1 = Scale(0.5, feed_forward(dim, dropout=dropout))
        self.attn = Attention(dim, dropout=dropout)
        self.conv = conv_module(dim, kernel_size=conv_kernel_size, dropout=dropout)
        self.ff2 = Scale(0.5, feed_forward(dim, dropout=dropout))
        self.post_norm = nn.LayerNorm(dim)

    def forward(self, x):
        x = self.ff1(x) + x
        x = self.attn(x) + x
        x = self.conv(x)
        x = self.ff2(x) + x
        return self.post_norm(x)


class Encoder(nn.Module):
    def __init__(self, mels=40, dim=32, depth=2, conv_kernel_size=32, vocab=29):
        super().__init__()
        self.subsample = nn.Linear(mels, dim)
        self.stacks = nn.ModuleList([nn.Sequential(*[ConformerBlock(dim, conv_kernel_size) for _ in range(depth)]) for _ in range(2)])
        self.to_logits = nn.Linear(dim, vocab)

    def forward(self, x):
        x = self.subsample(x)
        for layer in self.stacks:
            x = layer(x) + x
        return self.to_logits(x)


def build():
    return Encoder()


def step(model):
    logits = model(torch.randn(2, 1024, 40))
    return F.ctc_loss(logits.log_softmax(-1).transpose(0, 1), torch.randint(1, 29, (2, 40)),
                      torch.full((2,), logits.size(1)), torch.full((2,), 40))


# real fix: (pad, pad - (kernel_size + 1) % 2) as released in 0.0.3, or an odd kernel
# offending tensor: the output of stacks.0 (2, 1026, 32): each of its two depthwise convolutions returned one frame more
TRUTH = dict(raises='RuntimeError', at='function:add',
             culprits=['function:pad', 'stacks.0.0.conv.4', 'stacks.0.1.conv.4', 'stacks.0.0.conv.4.conv', 'stacks.0.1.conv.4.conv'],
             dim=1, got=1026, wanted=1024, hint_any=['padding', 'kernel', 'even', 'pad'])
MENDED = [('return (pad, pad)', 'return (pad, pad - (kernel_size + 1) % 2)')]
