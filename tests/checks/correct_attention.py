"""Correct attention: sequence first, merged batches, axes, masks of padding.

Each takes a batch, a number of steps and a width, and gives the models and a step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.classified import classified


def transformer_seq_first(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, 8)
            self.pe = nn.Parameter(torch.zeros(50, 1, 8))
            self.t = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False
            )
            self.o = nn.Linear(8, 20)

        def forward(self, x):
            h = self.e(x) + self.pe[: x.size(0)]
            return self.o(
                self.t(h, mask=nn.Transformer.generate_square_subsequent_mask(len(x)))
            )

    m = M()
    d = torch.randint(0, 20, (steps + 1, batch))
    return (m, lambda: F.cross_entropy(m(d[:-1]).view(-1, 20), d[1:].reshape(-1)))


def seq_first_classifier(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, 8)
            self.t = nn.TransformerEncoderLayer(8, 2, 16)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            return self.o(self.t(self.e(x).permute(1, 0, 2)).mean(0))

    m = M()
    x = torch.randint(0, 20, (batch, steps))
    return classified(m, x)


def hierarchical_batch_first(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 8)
            self.t = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1
            )
            self.g = nn.GRU(8, 8, batch_first=True)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            b, S, w, d = x.shape
            h = self.t(self.e(x).view(b * S, w, 8)).mean(1).view(b, S, 8)
            return self.o(self.g(h)[0][:, -1])

    m = M()
    x = torch.randn(batch, 3, steps, width)
    return classified(m, x)


def axial_attention(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(3, 8)
            self.r = nn.MultiheadAttention(8, 2, batch_first=True)
            self.c = nn.MultiheadAttention(8, 2, batch_first=True)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            b, h, w, _ = x.shape
            x = self.e(x)
            r = x.reshape(b * h, w, 8)
            r = self.r(r, r, r)[0].view(b, h, w, 8)
            c = r.transpose(1, 2).reshape(b * w, h, 8)
            c = self.c(c, c, c)[0].view(b, w, h, 8).transpose(1, 2)
            return self.o(c.mean((1, 2)))

    m = M()
    x = torch.randn(batch, steps, width, 3)
    return classified(m, x)


def intersample_attention(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(1, 8)
            self.a = nn.MultiheadAttention(8, 2, batch_first=True)
            self.b = nn.MultiheadAttention(8 * steps, 2, batch_first=True)
            self.o = nn.Linear(8 * steps, 3)

        def forward(self, x):
            h = self.e(x[..., None])
            h = h + self.a(h, h, h)[0]
            f = h.reshape(1, len(x), -1)
            f = f + self.b(f, f, f)[0]
            return self.o(f[0])

    m = M()
    x = torch.randn(batch, steps)
    return classified(m, x)


def set_of_agents_batch_is_time(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 8)
            self.a = nn.MultiheadAttention(8, 2)
            self.o = nn.Linear(8, 2)

        def forward(self, x):
            h = self.e(x)
            h = h + self.a(h, h, h)[0]
            return self.o(h)

    m = M()
    x = torch.randn(batch, steps, width)
    y = torch.randn(batch, steps, 2)
    return (m, lambda: F.mse_loss(m(x), y))


def bert_like_mlm(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, 8, padding_idx=0)
            self.t = nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
                1,
                enable_nested_tensor=False,
            )
            self.o = nn.Linear(8, 20)

        def forward(self, x):
            return self.o(self.t(self.e(x), src_key_padding_mask=x == 0))

    m = M()
    x = torch.randint(1, 20, (batch, steps))
    x[0, 2:] = 0
    lab = x.clone()
    lab[x == 0] = -100
    return (m, lambda: F.cross_entropy(m(x).transpose(1, 2), lab))


def masked_mean_pool(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, 8)
            self.a = nn.MultiheadAttention(8, 2, batch_first=True)
            self.o = nn.Linear(8, 3)

        def forward(self, x, n):
            mask = torch.arange(x.size(1))[None] < n[:, None]
            h = self.e(x)
            h = self.a(h, h, h, key_padding_mask=~mask)[0]
            return self.o((h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    m = M()
    x = torch.randint(0, 20, (batch, steps))
    n = torch.randint(1, steps + 1, (batch,))
    y = torch.randint(0, 3, (batch,))
    return (m, lambda: F.cross_entropy(m(x, n), y))


def cls_pool_with_padding(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, 8)
            self.a = nn.MultiheadAttention(8, 2, batch_first=True)
            self.o = nn.Linear(8, 3)

        def forward(self, x):
            pad = x == 0
            h = self.e(x)
            h = self.a(h, h, h, key_padding_mask=pad)[0]
            return self.o(h[:, 0])

    m = M()
    x = torch.randint(1, 20, (batch, steps))
    x[0, 2:] = 0
    return classified(m, x)


def mask_of_rows_and_columns(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
            self.o = nn.Linear(width, 3)

        def forward(self, x, m):
            a = self.q(x) @ self.k(x).mT
            mm = m[:, None, :] * m[:, :, None]
            a = a.masked_fill(mm == 0, -10000.0).softmax(-1) * m[:, :, None]
            return self.o((a @ self.v(x)).sum(1) / m.sum(1, keepdim=True))

    m = M()
    x = torch.randn(batch, steps, width)
    mk = (torch.arange(steps)[None] < torch.randint(1, steps + 1, (batch, 1))).float()
    y = torch.randint(0, 3, (batch,))
    return (m, lambda: F.cross_entropy(m(x, mk), y))


def inplace_mask(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = (nn.Linear(width, width), nn.Linear(width, width))
            self.o = nn.Linear(width, 3)

        def forward(self, x, p):
            a = self.q(x) @ self.k(x).mT
            a.masked_fill_(p[:, None], -1000000000.0)
            return self.o((a.softmax(-1) @ x).mean(1))

    m = M()
    x = torch.randn(batch, steps, width)
    p = torch.arange(steps)[None] >= torch.randint(1, steps + 1, (batch, 1))
    y = torch.randint(0, 3, (batch,))
    return (m, lambda: F.cross_entropy(m(x, p), y))


def label_attention(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.u = nn.Linear(width, 5)
            self.o = nn.Linear(width, 1)

        def forward(self, x):
            a = self.u(x).softmax(1)
            return self.o(a.mT @ x).squeeze(-1)

    m = M()
    x = torch.randn(batch, steps, width)
    y = torch.rand(batch, 5)
    return (m, lambda: F.binary_cross_entropy_with_logits(m(x), y))
