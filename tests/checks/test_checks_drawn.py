"""One random number for each sample, or for each step of all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")
#: batch, time, features: all apart, and the same
SIZES = [(6, 9, 8), (8, 8, 8)]


def floored(x, at):
    return (0.8 + torch.rand(shape(x, at))).floor_()


def drawn(x, at):
    return x.new_empty(shape(x, at)).bernoulli_(0.8)


def compared(x, at):
    return (torch.rand(shape(x, at)) < 0.8).to(x.dtype)


def chosen(x, at):
    return torch.bernoulli(torch.full(shape(x, at), 0.8)) / 0.8


def shape(x, at):
    return [x.shape[d] if d == at else 1 for d in range(x.dim())]


class Block(nn.Module):
    def __init__(self, width, draw, at, first, kind="attention"):
        super().__init__()
        self.draw, self.at, self.kind = draw, at, kind
        self.norm = nn.LayerNorm(width)
        if kind == "attention":
            self.mix = nn.MultiheadAttention(width, 2, batch_first=first)
        elif kind == "recurrent":
            self.mix = nn.GRU(width, width, batch_first=first)
        else:
            self.mix = nn.Linear(width, width)

    def forward(self, x):
        h = self.norm(x)
        if self.kind == "attention":
            out = self.mix(h, h, h, need_weights=False)[0]
        elif self.kind == "recurrent":
            out = self.mix(h)[0]
        else:
            out = self.mix(h)
        return x + out * self.draw(out, self.at)


class Model(nn.Module):
    def __init__(self, width, draw, at, first, kind="attention"):
        super().__init__()
        self.embed, self.head = nn.Linear(5, width), nn.Linear(width, 4)
        self.one = Block(width, draw, at, first, kind)
        self.two = Block(width, draw, at, first, kind)
        self.first = first

    def forward(self, x):
        x = self.embed(x)
        x = self.two(self.one(x if self.first else x.transpose(0, 1)))
        return self.head(x.mean(1 if self.first else 0))


def alarms(model, size):
    x, y = torch.randn(*size[:2], 5), torch.randint(0, 4, size[:1])
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), y).backward()
    return [one.code for one in t.findings if one.severity != "note"]


@pytest.mark.parametrize("kind", ["attention", "recurrent", "linear"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("draw", [floored, drawn, compared, chosen])
def test_a_number_for_each_step_of_all_samples(draw, size, kind):
    model = Model(size[2], draw, 0, first=False, kind=kind)
    assert alarms(model, size) == ["drawn-for-all-samples"]
    model = Model(size[2], draw, 1, first=False, kind=kind)
    assert alarms(model, size) == []
    model = Model(size[2], draw, 0, first=True, kind=kind)
    assert alarms(model, size) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_layer_that_takes_the_batch_for_the_sequence_is_another_mistake(size):
    model = Model(size[2], floored, 0, first=True)
    model.one.mix.batch_first = model.two.mix.batch_first = False
    assert "drawn-for-all-samples" not in alarms(model, size)


class Masked(nn.Module):
    """Recurrent layers, time-major, in which something else is dropped at random."""

    def __init__(self, width, mask):
        super().__init__()
        self.rnn, self.head = nn.LSTM(5, width), nn.Linear(width, 4)
        self.mask = mask

    def forward(self, x):
        out = self.rnn(x.transpose(0, 1))[0]
        return self.head(self.mask(out).mean(0))


MASKS = {
    "steps": lambda x: x * floored(x, 0),
    "locked": lambda x: x * torch.rand(1, *x.shape[1:]).round(),
    "features": lambda x: x + x * floored(x, 2),
    "samples": lambda x: x + x * floored(x, 1),
    "all": lambda x: x + x * torch.rand_like(x).round(),
    "positions": lambda x: x + torch.rand(x.shape[0], 1, 1),
    "decay": lambda x: x + x * torch.linspace(0, 1, x.shape[0])[:, None, None],
    "dropout": lambda x: x + F.dropout(x, 0.1),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MASKS)
def test_what_is_dropped_in_another_way(name, size):
    assert alarms(Masked(size[2], MASKS[name]), size) == []


@pytest.mark.parametrize("size", [(6, 4, 5), (5, 5, 5)])
def test_windows_of_images(size):
    """(batch · windows, places, features), of which the first holds the batch."""

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 4)
            self.block = Block(8, floored, 0, True)

        def forward(self, x):
            x = self.conv(x)
            b, c, h, w = x.shape
            x = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1)
            return self.head(self.block(x.reshape(-1, 4, c)).view(b, -1, c).mean(1))

    model = Windows()
    x, y = torch.rand(size[0], 3, 4, 6), torch.randint(0, 4, size[:1])
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), y).backward()
    assert [one.code for one in t.findings] == []
