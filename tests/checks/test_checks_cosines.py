"""Along which dimension two representations are compared."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

#: samples, places, features: all distinct, and all equal
SIZES = [(4, 6, 8), (5, 5, 5)]


def found(program, *given):
    torch.manual_seed(0)
    with shapetrace.trace() as t:
        program(*given).backward()
    return [(one.code, one.fixes[0].line) for one in t.findings if one.fixes]


def tokens(sizes, dim):
    samples, places, size = sizes
    x = torch.randn(samples, places, 3)
    student, teacher = nn.Linear(3, size), nn.Linear(3, size)
    with torch.no_grad():
        wanted = teacher(x)
    return 1 - F.cosine_similarity(student(x), wanted, dim=dim).mean()


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("sizes", SIZES)
def test_over_the_places_of_two_models(sizes):
    line = "return 1 - F.cosine_similarity(student(x), wanted, dim=2).mean()"
    assert found(tokens, sizes, 1) == [("normalised-dim", line)]


@pytest.mark.parametrize("sizes", SIZES)
def test_over_the_features(sizes):
    assert found(tokens, sizes, -1) == []


def series(sizes):
    """A forecast and the data: the course of each channel."""
    samples, steps, size = sizes
    x, y = torch.randn(samples, steps, 3), torch.randn(samples, steps, size)
    return 1 - F.cosine_similarity(nn.Linear(3, size)(x), y, dim=1).mean()


def maps(sizes):
    """Where each channel of two networks looks."""
    samples, places, size = sizes
    x = torch.randn(samples, 3, places, places)
    one, two = nn.Conv2d(3, size, 1), nn.Conv2d(3, size, 1)
    return F.cosine_similarity(one(x).flatten(2), two(x).flatten(2), dim=2).mean()


def shown(sizes):
    """A similarity of each feature that is looked at by itself."""
    samples, places, size = sizes
    x = torch.randn(samples, places, 3)
    one, two = nn.Linear(3, size), nn.Linear(3, size)
    each = F.cosine_similarity(one(x), two(x), dim=1)
    return each.max(1).values.mean()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", [series, maps, shown])
def test_comparisons_that_look_alike(program, sizes):
    assert found(program, sizes) == []
