"""Views that name a size, and get another dimension that is as long."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shapetrace


class Spectra(nn.Module):
    """Maps of time and frequency, read as a sequence of all that each time has."""

    def __init__(self, read, sides=(6, 6)):
        super().__init__()
        self.conv, self.read = nn.Conv2d(2, 3, 3, padding=1), read()
        self.lstm = nn.LSTM(3 * sides[1], 8, batch_first=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.lstm(self.read(self.conv(x).relu()))[0])


class JoinedWithoutPermute(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        return x.view(b, -1, t).transpose(1, 2)


class JoinedBySizes(nn.Module):
    def forward(self, x):
        t, f = x.size(2), x.size(3)
        return x.reshape(x.size(0), -1, t).transpose(1, 2)[:, :f]


def found_in(read, batch=5):
    torch.manual_seed(0)
    model = Spectra(read)
    with shapetrace.trace(model) as t:
        model(torch.randn(batch, 2, 6, 6)).square().mean().backward()
    return t.findings


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    ("read", "line"),
    [
        (
            JoinedWithoutPermute,
            "return x.permute(0, 1, 3, 2).contiguous().view(b, -1, t).transpose(1, 2)",
        ),
        (
            JoinedBySizes,
            "return x.permute(0, 1, 3, 2)"
            ".reshape(x.size(0), -1, t).transpose(1, 2)[:, :f]",
        ),
    ],
)
def test_a_view_that_names_the_time_and_gets_the_frequency(read, line):
    (found,) = found_in(read)
    assert found.code == "view-as-permute" and "`t`" in found.message
    assert [(fix.status, fix.line) for fix in found.fixes] == [("verified", line)]


class Permuted(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        return x.permute(0, 2, 1, 3).reshape(b, t, -1)


class ByTheFrequency(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        return x.view(b, -1, f).transpose(1, 2)


class OneNameForBoth(nn.Module):
    def forward(self, x):
        b, side = x.size(0), x.size(2)
        return x.view(b, -1, side).transpose(1, 2)


class TwiceInOneView(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        x = x.view(b, c, t, t)
        return x.permute(0, 3, 1, 2).reshape(b, f, -1)


class TransposedBefore(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        x = x.transpose(2, 3)
        return x.reshape(b, -1, t).transpose(1, 2)


class PermutedInPlaceOfNames(nn.Module):
    def forward(self, x):
        x = x.permute(0, 3, 1, 2)
        b, t, c, f = x.shape
        return x.reshape(b, t, -1)


class Flattened(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2).flatten(2)


class Numbers(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 18, 6).transpose(1, 2)


class ToRowsAndBack(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(b * t, f, c)
        return rows.reshape(b, t, f * c)


class OverChannels(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        scores = x.view(b, c, t * f).transpose(1, 2) @ x.view(b, c, t * f)
        return (scores.softmax(-1) @ x.view(b, c, t * f).mT).view(b, t, f * c)


class MergedBehind(nn.Module):
    def forward(self, x):
        b, c, t, f = x.shape
        return x.permute(0, 2, 3, 1).reshape(b, t, f * c)


class NamesOfAnotherTensor(nn.Module):
    def forward(self, x):
        other = x.permute(0, 1, 3, 2)
        b, c, f, t = other.shape
        return other.reshape(b, c * f, t).transpose(1, 2)


RIGHT = [
    Permuted,
    ByTheFrequency,
    OneNameForBoth,
    TwiceInOneView,
    TransposedBefore,
    PermutedInPlaceOfNames,
    Flattened,
    Numbers,
    ToRowsAndBack,
    OverChannels,
    MergedBehind,
    NamesOfAnotherTensor,
]


@pytest.mark.parametrize("batch", [5, 6])
@pytest.mark.parametrize("read", RIGHT)
def test_a_view_that_gets_what_it_names(read, batch):
    assert found_in(read, batch) == ()
