"""Random pipelines: correct ones give no finding, each injected mistake its own."""

from __future__ import annotations

import warnings

import hypothesis.strategies as st
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import nn

import shapetrace

#: sizes drawn from so few that they coincide all the time
sizes = st.integers(2, 5)
EXAMPLES = settings(max_examples=25, deadline=None)


class Body(nn.Module):
    """Tokens or images to features (batch, features), by a way drawn at random."""

    def __init__(self, way, features, length):
        super().__init__()
        self.way = way
        self.words, self.conv = nn.Embedding(9, features), nn.Conv2d(3, features, 1)
        self.lstm = nn.LSTM(features, features, batch_first=way != "time first")
        self.attend = nn.MultiheadAttention(features, 1, batch_first=True)
        self.join = nn.Linear(features * length, features)

    def forward(self, x):
        if self.way == "image":
            return self.conv(x).relu().mean((2, 3))
        x = self.words(x)
        if self.way == "lstm":
            return self.lstm(x)[0][:, -1]
        if self.way == "time first":
            return self.lstm(x.transpose(0, 1))[0][-1]
        if self.way == "attention":
            return self.attend(x, x, x)[0].mean(1)
        if self.way == "pooled":
            return ((x * x.mean(1, keepdim=True)).softmax(1) * x).sum(1)
        return self.join(x.flatten(1))


class Model(nn.Module):
    def __init__(self, way, features, length, classes, tail=None):
        super().__init__()
        self.body = Body(way, features, length)
        self.head, self.tail = nn.Linear(features, classes), tail or nn.Identity()

    def forward(self, x):
        return self.tail(self.head(self.body(x)))


WAYS = ("image", "lstm", "time first", "attention", "pooled", "flat")


def correct(out, y):
    """Losses of every kind that fit (batch, classes)."""
    batch, classes = out.shape
    return {
        "cross-entropy": lambda: F.cross_entropy(out, y),
        "nll": lambda: F.nll_loss(out.log_softmax(1), y),
        "mse": lambda: F.mse_loss(out, torch.rand(batch, classes)),
        "by hand": lambda: ((out - torch.rand(batch, classes)) ** 2).mean(),
        "bce": lambda: F.binary_cross_entropy(
            out.sigmoid(), torch.rand(batch, classes)
        ),
        "logits": lambda: F.binary_cross_entropy_with_logits(
            out, torch.rand(batch, classes)
        ),
        "kl": lambda: F.kl_div(
            out.log_softmax(1), torch.rand(batch, classes), reduction="sum"
        ),
        "column": lambda: F.huber_loss(out[:, :1].squeeze(1), torch.rand(batch)),
    }


def wrong(out, y):
    """The mistakes, by the code that they must give."""
    batch, classes = out.shape
    return {
        "softmax-before-cross-entropy": lambda: F.cross_entropy(out.softmax(1), y),
        "log-softmax-missing-before-nll": lambda: F.nll_loss(out.softmax(1), y),
        "log-softmax-missing-before-kl-div": lambda: F.kl_div(
            out, torch.rand(batch, classes), reduction="sum"
        ),
        "sigmoid-before-bce-with-logits": lambda: F.binary_cross_entropy_with_logits(
            out.sigmoid(), torch.rand(batch, classes)
        ),
        "softmax-over-batch": lambda: F.mse_loss(
            out.softmax(0), torch.rand(batch, classes)
        ),
        "silent-broadcast": lambda: F.mse_loss(out[:, :1], torch.rand(batch)),
        "target-dtype": lambda: F.mse_loss(
            out, torch.zeros(batch, classes, dtype=torch.long)
        ),
        "dtype-promotion": lambda: (out - DOUBLE[:batch, :classes]).abs().sum(),
        "dead-loss": lambda: F.mse_loss(out.detach(), torch.rand(batch, classes)),
    }


#: float64 that came in from outside
DOUBLE = torch.rand(5, 5, dtype=torch.float64)


@st.composite
def programs(draw):
    batch, length, features, classes = (draw(sizes) for _ in range(4))
    way = draw(st.sampled_from(WAYS))
    torch.manual_seed(draw(st.integers(0, 9)))
    x = torch.randint(0, 9, (batch, length))
    if way == "image":
        x = torch.rand(batch, 3, length, features)
    y = torch.arange(batch) % classes
    return Model(way, features, length, classes), x, y


def traced(model, x, y, kind, table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with shapetrace.trace(model) as t:
            loss = table(model(x), y)[kind]()
            if loss.requires_grad:
                loss.backward()
    return {found.code for found in t.findings} - {"unused-output"}


@EXAMPLES
@given(programs(), st.sampled_from(sorted(correct(torch.zeros(2, 2), None))))
def test_a_correct_pipeline_gives_no_finding(program, kind):
    assert traced(*program, kind, correct) == set()


@EXAMPLES
@given(programs(), st.sampled_from(sorted(wrong(torch.zeros(2, 2), None))))
def test_an_injected_mistake_gives_exactly_its_own(program, code):
    assert traced(*program, code, wrong) == {code}
