"""Correct recurrent models: time first, batch first, with and without CTC.

Each takes a batch, a number of steps and a width, and gives the models and a step.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.classified import classified


def time_major_ctc(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.LSTM(width, 8, bidirectional=True)
            self.f = nn.Linear(16, 6)

        def forward(self, x):
            return self.f(self.r(x)[0]).log_softmax(2)

    m = M()
    x = torch.randn(3 * steps, batch, width)
    y = torch.randint(1, 6, (batch, 2))
    return (
        m,
        lambda: F.ctc_loss(
            m(x), y, torch.full((batch,), 3 * steps), torch.full((batch,), 2)
        ),
    )


def batch_first_ctc(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.GRU(width, 8, batch_first=True)
            self.f = nn.Linear(8, 6)

        def forward(self, x):
            return self.f(self.r(x)[0])

    m = M()
    x = torch.randn(batch, 3 * steps, width)
    y = torch.randint(1, 6, (batch, 2))
    return (
        m,
        lambda: F.ctc_loss(
            m(x).permute(1, 0, 2).log_softmax(-1),
            y,
            torch.full((batch,), 3 * steps),
            torch.full((batch,), 2),
        ),
    )


def crnn_ctc(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d((4, 1))
            )
            self.r = nn.LSTM(8 * 2, 8)
            self.f = nn.Linear(8, 6)

        def forward(self, x):
            h = self.c(x)
            h = h.flatten(1, 2).permute(2, 0, 1)
            h, _ = self.r(h)
            t, b, k = h.shape
            return self.f(h.view(t * b, k)).view(t, b, -1)

    m = M()
    x = torch.randn(batch, 1, 8, 3 * steps)
    y = torch.randint(1, 6, (batch, 2))
    return (
        m,
        lambda: nn.CTCLoss()(
            m(x).log_softmax(2),
            y,
            torch.full((batch,), 3 * steps),
            torch.full((batch,), 2),
        ),
    )


def ctc_unbatched(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.GRU(width, 8)
            self.f = nn.Linear(8, 6)

        def forward(self, x):
            return self.f(self.r(x)[0]).log_softmax(-1)

    m = M()
    x = torch.randn(3 * steps, width)
    y = torch.randint(1, 6, (2,))
    return (m, lambda: F.ctc_loss(m(x), y, torch.tensor(3 * steps), torch.tensor(2)))


def token_shift_rwkv(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, width)
            self.mix = nn.Parameter(torch.rand(1, 1, width))
            self.k = nn.Linear(width, width)
            self.h = nn.Linear(width, 20)
            self.sh = nn.ZeroPad2d((0, 0, 1, -1))

        def forward(self, i):
            x = self.e(i)
            xx = self.sh(x)
            x = x * self.mix + xx * (1 - self.mix)
            return self.h(F.relu(self.k(x)) ** 2)

    m = M()
    ids = torch.randint(0, 20, (batch, steps + 1))
    return (
        m,
        lambda: F.cross_entropy(m(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()),
    )


def gru_decoder(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, width)
            self.enc = nn.GRU(width, 8)
            self.cell = nn.GRUCell(width, 8)
            self.o = nn.Linear(8, 20)

        def forward(self, a, b):
            _, h = self.enc(self.e(a).transpose(0, 1))
            h = h[0]
            outs = []
            for t in range(b.size(1)):
                h = self.cell(self.e(b[:, t]), h)
                outs.append(self.o(h))
            return torch.stack(outs, 1)

    m = M()
    a = torch.randint(0, 20, (batch, steps))
    b = torch.randint(0, 20, (batch, steps + 1))
    return (m, lambda: F.cross_entropy(m(a, b[:, :-1]).transpose(1, 2), b[:, 1:]))


def time_major_tagger(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, width)
            self.r = nn.LSTM(width, 8, bidirectional=True)
            self.o = nn.Linear(16, 5)

        def forward(self, x):
            return self.o(self.r(self.e(x))[0])

    m = M()
    x = torch.randint(0, 20, (steps, batch))
    y = torch.randint(0, 5, (steps, batch))
    return (m, lambda: F.cross_entropy(m(x).view(-1, 5), y.view(-1)))


def word_language_model(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, width)
            self.r = nn.LSTM(width, 8)
            self.o = nn.Linear(8, 20)

        def forward(self, x, h):
            y, h = self.r(self.e(x), h)
            return (self.o(y).view(-1, 20), h)

    m = M()
    src = torch.randint(0, 20, (steps * 3, batch))
    h = (torch.zeros(1, batch, 8), torch.zeros(1, batch, 8))

    def step():
        out, _ = m(src[:steps], h)
        return F.cross_entropy(out, src[1 : steps + 1].view(-1))

    return (m, step)


def masked_lm_loss(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Embedding(20, width)
            self.r = nn.GRU(width, 8, batch_first=True)
            self.o = nn.Linear(8, 20)

        def forward(self, x):
            return self.o(self.r(self.e(x))[0])

    m = M()
    x = torch.randint(0, 20, (batch, steps + 1))
    mask = (torch.arange(steps)[None] < torch.randint(1, steps + 1, (batch, 1))).float()

    def step():
        loss = F.cross_entropy(m(x[:, :-1]).transpose(1, 2), x[:, 1:], reduction="none")
        return (loss * mask).sum() / mask.sum()

    return (m, step)


def bilstm_hn(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.LSTM(width, 8, bidirectional=True, batch_first=True)
            self.o = nn.Linear(16, 3)

        def forward(self, x):
            _, (h, _) = self.r(x)
            return self.o(h.transpose(0, 1).reshape(len(x), -1))

    m = M()
    x = torch.randn(batch, steps, width)
    return classified(m, x)


def crf_forward(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.e = nn.Linear(width, 5)
            self.t = nn.Parameter(torch.randn(5, 5))

        def forward(self, x, y):
            em = self.e(x)
            a = em[:, 0]
            sc = em[:, 0].gather(1, y[:, :1]).squeeze(1)
            for i in range(1, x.size(1)):
                a = torch.logsumexp(a[:, :, None] + self.t + em[:, i, None], 1)
                sc = (
                    sc
                    + em[:, i].gather(1, y[:, i : i + 1]).squeeze(1)
                    + self.t[y[:, i - 1], y[:, i]]
                )
            return (a.logsumexp(1) - sc).mean()

    m = M()
    x = torch.randn(batch, steps, width)
    y = torch.randint(0, 5, (batch, steps))
    return (m, lambda: m(x, y))


def world_model_time_major_gru(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.GRU(width, 8)
            self.d = nn.Linear(8, width)

        def forward(self, x):
            return self.d(self.r(x)[0])

    m = M()
    x = torch.randn(steps + 1, batch, width)
    return (m, lambda: F.mse_loss(m(x[:-1]), x[1:]))


def r2d2_burn_in(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.LSTM(width, 8)
            self.q = nn.Linear(8, 3)

        def forward(self, x, h):
            y, h = self.r(x, h)
            return (self.q(y), h)

    m = M()
    x = torch.randn(steps + 2, batch, width)
    a = torch.randint(0, 3, (steps, batch, 1))
    y = torch.randn(steps, batch)

    def step():
        h = (torch.zeros(1, batch, 8), torch.zeros(1, batch, 8))
        with torch.no_grad():
            _, h = m(x[:2], h)
        q, _ = m(x[2:], h)
        return ((q.gather(2, a).squeeze(2) - y) ** 2).mean()

    return (m, step)


def conv_lstm_frames(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Conv2d(3, 8, 3, 2)
            self.r = nn.LSTM(8, 8, batch_first=True)
            self.o = nn.Linear(8, 3)

        def forward(self, v):
            b, t = v.shape[:2]
            f = self.c(v.flatten(0, 1)).mean((2, 3)).view(b, t, 8)
            return self.o(self.r(f)[0][:, -1])

    m = M()
    v = torch.randn(batch, steps, 3, 8, 8)
    y = torch.randint(0, 3, (batch,))
    return (m, lambda: F.cross_entropy(m(v), y))


def nodes_as_batch_stgcn(batch, steps, width):
    class M(nn.Module):
        def __init__(self):
            super().__init__()
            self.r = nn.GRU(2, 8, batch_first=True)
            self.o = nn.Linear(8, 1)

        def forward(self, x):
            b, t, n, f = x.shape
            h = x.permute(0, 2, 1, 3).reshape(b * n, t, f)
            return self.o(self.r(h)[0][:, -1]).view(b, n)

    m = M()
    x = torch.randn(batch, steps, width, 2)
    y = torch.randn(batch, width)
    return (m, lambda: F.mse_loss(m(x), y))
