"""squeeze() of the last batch of an epoch, which has one sample, before a reduction."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import shapetrace

SIZES = [(9, 7), (8, 8)]


class Encoder(nn.Module):
    def __init__(self, bins, ends):
        super().__init__()
        self.layer, self.ends = nn.Linear(bins, bins), ends

    def forward(self, x):
        return self.ends(self, x)


def found(sizes, counts, ends):
    """The alarms of a training with batches of so many one-channel spectrograms."""
    times, bins = sizes
    model = Encoder(bins, ends)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", shapetrace.ShapeTraceWarning)
        with shapetrace.trace(model) as t:
            for count in counts:
                loss = model(torch.randn(count, 1, times, bins)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return [one.code for one in t.findings if one.severity != "note"]


def over_time(self, x):
    return self.layer(x.squeeze()).mean(1)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("counts", [(4, 4, 1), (1, 4, 4)])
def test_a_mean_over_the_time_that_runs_over_the_features(sizes, counts):
    assert found(sizes, counts, over_time) == ["squeeze-drops-batch"]


RIGHT = {
    "the last dimension": lambda self, x: self.layer(x.squeeze()).mean(-1),
    "the one before it": lambda self, x: self.layer(x.squeeze()).amax(-2),
    "all": lambda self, x: self.layer(x.squeeze()).mean(),
    "several": lambda self, x: self.layer(x.squeeze()).sum((-2, -1)),
    "the channel alone": lambda self, x: self.layer(x.squeeze(1)).mean(1),
    "put back": lambda self, x: self.layer(
        x.squeeze().reshape(len(x), *x.shape[2:])
    ).mean(1),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("counts", [(4, 4, 1), (1, 4, 4)])
@pytest.mark.parametrize("name", RIGHT)
def test_what_reduces_the_same_dimension_of_one_sample(sizes, counts, name):
    assert found(sizes, counts, RIGHT[name]) == []


@pytest.mark.parametrize("counts", [(4, 3), (1, 1)])
def test_batches_that_are_all_of_one_or_all_of_several(counts):
    assert found((8, 8), counts, over_time) == []
