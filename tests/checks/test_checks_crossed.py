"""Samples that meet all samples, as a dimension was dropped on one side alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = [(4, 3, 9, 7), (5, 5, 5, 5), (3, 3, 8, 8)]


class Net(nn.Module):
    """What `meet` makes of maps of one channel and of several is used as channels."""

    def __init__(self, channels, meet, inner=True):
        super().__init__()
        self.one, self.body = nn.Conv2d(channels, 1, 1), nn.Conv2d(
            channels, channels, 1
        )
        self.meet, self.inner = meet, inner

    def forward(self, x):
        alpha, features = self.one(x).sigmoid(), self.body(x)
        return torch.cat([self.meet(alpha, features, x), features], 1)


WRONG = {
    "sum": lambda a, f, x: a + torch.sum(f * x, 1),
    "mean": lambda a, f, x: (a * f.mean(1)).clamp(0, 1),
    "norm": lambda a, f, x: a / (f.norm(dim=1) + 1e-6),
    "amax": lambda a, f, x: a - f.amax(dim=1).sigmoid(),
    "select": lambda a, f, x: a * x[:, 0],
    "unsqueezed": lambda a, f, x: use(f[:, 0].unsqueeze(1), f) * x.sum(1).exp(),
    "squeezed": lambda a, f, x: a + (1 - a.squeeze(1)),
    "kept": lambda a, f, x: f.mean(1, keepdim=True) + x.mean(1).relu(),
}
RIGHT = {
    "kept": lambda a, f, x: a + torch.sum(f * x, 1, keepdim=True),
    "unsqueezed": lambda a, f, x: a * f.mean(1)[:, None],
    "sliced": lambda a, f, x: a * x[:, :1],
    "gated": lambda a, f, x: a * f,
    "a map for all": lambda a, f, x: a + torch.rand(x.shape[2:]),
    "weights": lambda a, f, x: a.mean((2, 3), keepdim=True) * f,
    "squeezed on both": lambda a, f, x: (a.squeeze(1) * f.mean(1))[:, None],
}


def use(a, f):
    (a * f).sum()
    return a


def codes(program):
    with shapetrace.trace(checks={"silent-broadcast"}) as t:
        program()
    return [one for one in t.findings if one.severity != "note"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WRONG)
def test_a_dimension_that_one_side_dropped(name, size):
    net = Net(size[1], WRONG[name])
    found = codes(lambda: net(torch.rand(size)).mean().backward())
    assert [one.code for one in found] == ["silent-broadcast"]


@pytest.mark.parametrize("size", SIZES + [(1, 3, 8, 8)])
@pytest.mark.parametrize("name", RIGHT)
def test_maps_that_meet_as_they_should(name, size):
    net = Net(size[1], RIGHT[name])
    assert codes(lambda: net(torch.rand(size)).mean().backward()) == []


def prototypes(x):
    queries, means = nn.Linear(7, 5)(x)[:, :1], nn.Linear(7, 5)(x).mean(1)
    scores = -(queries - means).pow(2).sum(-1)
    return F.cross_entropy(scores, torch.arange(len(x)))


def all_pairs_of_images(x):
    gray = x.mean(1)
    return (gray[:, None] - gray).pow(2).mean((2, 3)).min(1)[0].mean()


def all_pairs_of_two(x):
    one, two = nn.Conv2d(x.shape[1], 1, 1)(x), x.mean(1)
    return F.cross_entropy((one - two).pow(2).sum((2, 3)), torch.arange(len(x)))


def flattened_pairs(x):
    one, two = nn.Conv2d(x.shape[1], 1, 1)(x), x.mean(1)
    return (one - two).flatten(2).norm(dim=2).mean()


def differences_of_sets(x):
    points = nn.Linear(x.shape[-1], 4)(x.mean((1, 2)))
    return (points.unsqueeze(1) - points).norm(dim=-1).mean()


def kernels(x):
    one, two = x.flatten(1).sum(1, keepdim=True), x.flatten(1).mean(1)
    return torch.exp(-((one - two) ** 2)).mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "pairs",
    [
        all_pairs_of_images,
        all_pairs_of_two,
        flattened_pairs,
        differences_of_sets,
        kernels,
    ],
)
def test_all_pairs_that_are_meant(pairs, size):
    assert codes(lambda: pairs(torch.rand(size))) == []


@pytest.mark.parametrize("size", [(4, 6, 7), (5, 5, 7)])
def test_prototypes_and_one_query_each(size):
    assert codes(lambda: prototypes(torch.rand(size))) == []


def test_both_of_one_line_are_mended_together():
    def meet(a, f, x):
        return (a + torch.sum(f * x, 1)) / (torch.sum(f * x, 1) + 0.1)

    net = Net(3, meet)
    (found,) = codes(lambda: net(torch.rand(4, 3, 8, 8)).mean().backward())
    assert found.culprits[0].name == "sum"
    assert found.fixes[0].line.count("keepdim=True") == 2
