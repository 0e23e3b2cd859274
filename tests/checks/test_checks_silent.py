"""What PyTorch accepts without a word and computes nonsense from: one finding each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

X = (6, 10)


class Tagger(nn.Module):
    """Logits (batch, time, tags), not permuted."""

    def __init__(self, tags=7):
        super().__init__()
        self.emb, self.rnn = nn.Embedding(30, 8), nn.LSTM(8, 8, batch_first=True)
        self.fc = nn.Linear(8, tags)

    def forward(self, x):
        return self.fc(self.rnn(self.emb(x))[0])


class Recurrent(nn.Module):
    """(batch, time, features) into an LSTM that takes time first."""

    def __init__(self, how="last"):
        super().__init__()
        self.how, self.lstm, self.fc = how, nn.LSTM(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        out = self.lstm(x)[0]
        return self.fc(out[:, -1] if self.how == "last" else out.mean(1))


class Encoder(nn.Module):
    """A transformer that takes time first, fed batch first, pooled over time."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16)
        self.emb, self.encoder = nn.Embedding(20, 8), layer
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.encoder(self.emb(x)).mean(dim=1))


class Positions(nn.Module):
    """The table of positions (length, 1, features) on batch-first data."""

    def __init__(self):
        super().__init__()
        self.register_buffer("pe", torch.randn(50, 1, 8))
        self.emb, self.fc = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.emb(x)
        return self.fc((x + self.pe[: x.size(0)]).mean(1))


class BothWays(nn.Module):
    """The last states of both directions joined by a view."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 4, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.gru(x)[1].view(x.size(0), -1))


class Pixels(nn.Module):
    """Logits (batch, classes, height, width) made to rows without a permute."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x):
        return self.conv(x).view(-1, 5)


class Scores(nn.Module):
    def __init__(self, *tail, out=4):
        super().__init__()
        self.fc, self.tail = nn.Linear(10, out), nn.Sequential(*tail)

    def forward(self, x):
        return self.tail(self.fc(x))


class Attention(nn.Module):
    """A softmax of the pooling weights over the batch."""

    def __init__(self, dim):
        super().__init__()
        self.dim, self.score, self.fc = dim, nn.Linear(5, 1), nn.Linear(5, 3)

    def forward(self, x):
        weights = torch.softmax(self.score(x), self.dim)
        return self.fc((weights * x).sum(1))


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Conv(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 1, 3, padding=1))


class Flattened(nn.Module):
    """What the LSTM took for the batch ends among the features of the next layer."""

    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(5, 4), nn.Linear(36, 2)

    def forward(self, x):
        return self.fc(self.lstm(x)[0].flatten(1))


def squared(prediction, target):
    return ((prediction - target) ** 2).mean()


def labels(*shape, high=3):
    return torch.randint(0, high, shape)


one, four, conv = Scores(out=1), Scores(), Conv()
CASES = {
    "mse (N, 1) and (N,)": ("silent-broadcast", one, X, F.mse_loss, torch.randn(6)),
    "one feature for two": ("silent-broadcast", one, X, F.mse_loss, torch.randn(6, 2)),
    "by hand": ("silent-broadcast", one, X, squared, torch.randn(6)),
    "by hand, one for two": ("silent-broadcast", one, X, squared, torch.randn(6, 2)),
    "l1": ("silent-broadcast", one, X, F.l1_loss, torch.randn(6)),
    "huber": ("silent-broadcast", one, X, F.huber_loss, torch.randn(6)),
    "smooth l1": ("silent-broadcast", one, X, F.smooth_l1_loss, torch.randn(6)),
    "multilabel": (
        "silent-broadcast",
        one,
        X,
        F.multilabel_soft_margin_loss,
        torch.ones(6),
    ),
    "poisson": ("silent-broadcast", one, X, F.poisson_nll_loss, torch.ones(6)),
    "softmax twice": (
        "softmax-before-cross-entropy",
        Scores(nn.Softmax(1)),
        X,
        F.cross_entropy,
        labels(6),
    ),
    "nll of logits": (
        "log-softmax-missing-before-nll",
        Scores(),
        X,
        F.nll_loss,
        labels(6),
    ),
    "nll of probabilities": (
        "log-softmax-missing-before-nll",
        Scores(nn.Softmax(1)),
        X,
        F.nll_loss,
        labels(6),
    ),
    "kl of probabilities": (
        "log-softmax-missing-before-kl-div",
        Scores(nn.Softmax(1)),
        X,
        F.kl_div,
        torch.rand(6, 4),
    ),
    "sigmoid twice": (
        "sigmoid-before-bce-with-logits",
        Scores(nn.Sigmoid()),
        X,
        F.binary_cross_entropy_with_logits,
        torch.rand(6, 4),
    ),
    "time as classes": (
        "class-dim",
        Tagger(),
        labels(4, 7),
        F.cross_entropy,
        labels(4, 7),
    ),
    "rows that sum to 1 are not the classes": (
        "class-dim",
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.LogSoftmax(3)),
        (2, 3, 5, 6),
        F.nll_loss,
        labels(2, 5, 6),
    ),
    "the batch as classes": (
        "class-dim",
        nn.Sequential(one, nn.Flatten(0)),
        X,
        F.cross_entropy,
        torch.rand(6),
    ),
    "lstm over the batch": (
        "batch-dim",
        Recurrent(),
        (6, 9, 5),
        F.cross_entropy,
        labels(6),
    ),
    "lstm over the batch, pooled": (
        "batch-dim",
        Recurrent("mean"),
        (6, 9, 5),
        F.cross_entropy,
        labels(6),
    ),
    "transformer over the batch": (
        "batch-dim",
        Encoder(),
        labels(6, 9),
        F.cross_entropy,
        labels(6),
    ),
    "positions of the batch": (
        "batch-dim",
        Positions(),
        labels(6, 9),
        F.cross_entropy,
        labels(6),
    ),
    "directions by a view": (
        "view-as-permute",
        BothWays(),
        (6, 9, 5),
        F.cross_entropy,
        labels(6),
    ),
    "pixels by a view": (
        "view-as-permute",
        Pixels(),
        (2, 3, 6, 8),
        F.cross_entropy,
        labels(2 * 6 * 8),
    ),
    "softmax over the batch": (
        "softmax-over-batch",
        Attention(0),
        (6, 9, 5),
        F.cross_entropy,
        labels(6),
    ),
    "softmax over the one feature": (
        "softmax-over-one",
        Attention(2),
        (6, 9, 5),
        F.cross_entropy,
        labels(6),
    ),
    "one class": (
        "softmax-over-one",
        one,
        X,
        F.cross_entropy,
        torch.zeros(6, dtype=torch.long),
    ),
    "dropped batch": (
        "squeeze-drops-batch",
        lambda x: one(x).squeeze(),
        (1, 10),
        F.mse_loss,
        torch.randn(1),
    ),
    "float64 target": (
        "dtype-promotion",
        Scores(),
        X,
        squared,
        torch.randn(6, 4).double(),
    ),
    "integer target": (
        "target-dtype",
        Scores(),
        X,
        F.l1_loss,  # mse_loss up to torch 2.9, and huber_loss, fail in the backward
        labels(6, 4),
    ),
    "detached": (
        "dead-loss",
        Scores(nn.Identity(), Detached()),
        X,
        F.mse_loss,
        torch.rand(6, 4),
    ),
    "sigmoid, then cross-entropy": (
        "softmax-before-cross-entropy",
        Scores(nn.Sigmoid()),
        X,
        F.cross_entropy,
        labels(6),
    ),
    "gathered values": (
        "silent-broadcast",
        lambda x: four(x).gather(1, labels(6, 1)),
        X,
        squared,
        torch.rand(6),
    ),
    "an image and its mask": (
        "silent-broadcast",
        Conv(),
        (4, 3, 8, 8),
        squared,
        torch.rand(4, 8, 8),
    ),
    "flattened over the batch it takes for time": (
        "batch-dim",
        Flattened(),
        (6, 9, 5),
        F.mse_loss,
        torch.rand(6, 2),
    ),
    "channels last to first by a view": (
        "view-as-permute",
        lambda x: conv(x.view(4, 3, 8, 6)).mean((2, 3)),
        (4, 8, 6, 3),
        F.mse_loss,
        torch.rand(4, 1),
    ),
    "heads by a view": (
        "view-as-permute",
        lambda x: four(x).view(2, 5, 2, 2).view(2, 2, 5, 2).mean((2, 3)),
        (2, 5, 10),
        F.mse_loss,
        torch.rand(2, 2),
    ),
    "repeated outside, viewed as repeated inside": (
        "view-as-permute",
        lambda x: four(x).repeat(5, 1).view(6, 5, 4),
        X,
        F.mse_loss,
        torch.rand(6, 5, 4),
    ),
}


def findings(model, given, loss_function, target):
    torch.manual_seed(0)
    x = torch.randn(given) if isinstance(given, tuple) else given
    with shapetrace.trace(*[model] if isinstance(model, nn.Module) else []) as t:
        loss = loss_function(model(x), target)
        if loss.requires_grad:
            loss.backward()
    return t.findings


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_silent_mistake_gives_its_own_finding_and_no_other(name):
    code, *case = CASES[name]
    assert [found.code for found in findings(*case)] == [code]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_finding_names_a_culprit_and_a_line_to_write(name):
    found = findings(*CASES[name][1:])[0]
    assert found.culprits and found.fixes and found.code in str(found)
