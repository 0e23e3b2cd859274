"""Heads split off and merged by views and chunks, with and without a permute."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

#: a finding is told as a warning too
pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")

#: batch, time, features, heads: all apart, some or all the same
SIZES = [
    (3, 7, 24, 4),
    (5, 4, 16, 4),
    (4, 4, 16, 4),
    (4, 7, 24, 4),
    (4, 8, 32, 4),
    (16, 8, 32, 4),
]


class Attention(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        self.heads, self.width, self.features = heads, features // heads, features
        self.q, self.k, self.v = (nn.Linear(features, features) for _ in range(3))
        self.out = nn.Linear(features, features)

    def forward(self, x):
        q, k, v = (self.split(one, x) for one in (self.q(x), self.k(x), self.v(x)))
        shares = (q @ k.transpose(-1, -2) / self.width**0.5).softmax(-1)
        return self.out(self.merge(shares @ v, x))

    def split(self, y, x):
        y = y.view(x.size(0), x.size(1), self.heads, self.width).transpose(1, 2)
        return y.reshape(-1, x.size(1), self.width)

    def merge(self, y, x):
        y = y.view(x.size(0), self.heads, x.size(1), self.width).transpose(1, 2)
        return y.reshape(x.size(0), -1, self.features)


class OfWholeFeatures(Attention):
    """The heads one behind the other in the batch, all samples of each."""

    def split(self, y, x):
        return torch.cat(y.chunk(self.heads, -1), 0)

    def merge(self, y, x):
        return torch.cat(y.chunk(self.heads, 0), -1)


class MergedByView(OfWholeFeatures):
    def merge(self, y, x):
        y = y.view(self.heads, x.size(0), x.size(1), self.width)
        return y.permute(1, 2, 0, 3).reshape(x.shape)


class OfEachToken(Attention):
    """Attention among the heads of a token."""

    def split(self, y, x):
        return y.view(-1, self.heads, self.width)

    def merge(self, y, x):
        return y.view(x.size(0), x.size(1), self.features)


class OfEachTokenApart(OfEachToken):
    def split(self, y, x):
        return y.view(x.size(0), x.size(1), self.heads, self.width)


class HeadsFirst(Attention):
    def split(self, y, x):
        y = y.view(x.size(0), x.size(1), self.heads, self.width)
        return y.permute(2, 0, 1, 3).reshape(-1, x.size(1), self.width)

    def merge(self, y, x):
        y = y.view(self.heads, x.size(0), x.size(1), self.width)
        return y.permute(1, 2, 0, 3).reshape(x.shape)


class TimeFirst(Attention):
    def split(self, y, x):
        y = y.transpose(0, 1).reshape(x.size(1), x.size(0) * self.heads, self.width)
        return y.transpose(0, 1)

    def merge(self, y, x):
        y = y.transpose(0, 1).reshape(x.size(1), x.size(0), self.features)
        return y.transpose(0, 1)


class Unflattened(Attention):
    def split(self, y, x):
        return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def merge(self, y, x):
        return y.transpose(1, 2).flatten(2)


class Paired(Attention):
    """The halves of the batch side by side, as pairs."""

    def merge(self, y, x):
        y = super().merge(y, x)
        return torch.cat(torch.cat((y, y)).chunk(2, 0), -1)[..., : self.features]


class Windows(Attention):
    """Of two or more tokens each, as many windows as fit."""

    def split(self, y, x):
        count = 2 if x.size(1) % 2 == 0 else 1
        return y.view(x.size(0) * count, x.size(1) // count, self.features)

    def merge(self, y, x):
        return y.view(x.shape)


class Inline(Attention):
    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.heads, self.width).transpose(1, 2)
        k = self.k(x).view(b, t, self.heads, self.width).transpose(1, 2)
        v = self.v(x).view(b, t, self.heads, self.width).transpose(1, 2)
        y = (q @ k.mT).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, self.features))


RIGHT = [
    Attention,
    OfWholeFeatures,
    MergedByView,
    OfEachToken,
    HeadsFirst,
    TimeFirst,
    Unflattened,
    Windows,
    Paired,
    Inline,
]


def found_in(kind, size):
    torch.manual_seed(0)
    batch, steps, features, heads = size
    words = nn.Embedding(30, features)
    blocks = nn.Sequential(kind(features, heads), kind(features, heads))
    model, last = nn.Sequential(words, blocks), nn.Linear(features, 5)
    model.append(last)
    with shapetrace.trace(model) as t:
        scores = model(torch.randint(0, 30, (batch, steps))).mean(1)
        F.cross_entropy(scores, torch.randint(0, 5, (batch,))).backward()
    return {found.code for found in t.findings if found.severity != "note"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", RIGHT)
def test_heads_that_stay_together(kind, size):
    assert found_in(kind, size) == set()


@pytest.mark.parametrize("size", SIZES)
def test_heads_of_a_token_are_to_be_told_from_those_that_were_not_moved(size):
    assert found_in(OfEachTokenApart, size) == {"attention-over-heads"}


class ByOneView(Attention):
    """In two layers one behind the other, the second of which nothing is known of."""

    def split(self, y, x):
        return y.view(x.size(0) * self.heads, -1, self.width)

    def merge(self, y, x):
        return y.view(x.size(0), -1, self.features)


class ByOneViewApart(Attention):
    def split(self, y, x):
        return y.view(x.size(0), self.heads, -1, self.width)

    def merge(self, y, x):
        return y.reshape(x.size(0), -1, self.features)


@pytest.mark.parametrize("size", [SIZES[0], SIZES[3], SIZES[4], SIZES[5]])
@pytest.mark.parametrize("kind", [ByOneView, ByOneViewApart])
def test_heads_made_by_a_view_alone(kind, size):
    assert found_in(kind, size) == {"view-as-permute"}


class ChunkedBack(Attention):
    """Heads behind each sample, taken for heads before all samples."""

    def merge(self, y, x):
        return torch.cat(y.chunk(self.heads, 0), -1)


class SplitBack(Attention):
    def merge(self, y, x):
        return torch.cat(torch.split(y, x.size(0), 0), 2)


class NamedInTheWrongPlace(Inline):
    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x).view(b, self.heads, t, self.width)
        k = self.k(x).view(b, self.heads, t, self.width)
        v = self.v(x).view(b, self.heads, t, self.width)
        y = (q @ k.mT).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, self.features))


class NamedBySizes(Inline):
    def forward(self, x):
        q = self.q(x).view(x.size(0), self.heads, x.size(1), self.width)
        k = self.k(x).view(x.size(0), self.heads, x.size(1), self.width)
        y = (q @ k.mT).softmax(-1) @ k
        return self.out(y.transpose(1, 2).reshape(x.shape))


class NamedAfterChunks(Inline):
    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (
            torch.cat(one.chunk(self.heads, 2), 0)
            for one in (self.q(x), self.k(x), self.v(x))
        )
        y = (q @ k.mT).softmax(-1) @ v
        y = y.view(b, self.heads, t, self.width)
        return self.out(y.transpose(1, 2).reshape(b, t, self.features))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "kind",
    [ChunkedBack, SplitBack, NamedInTheWrongPlace, NamedBySizes, NamedAfterChunks],
)
def test_heads_that_fall_apart_whatever_the_sizes(kind, size):
    assert found_in(kind, size) == {"view-as-permute"}
