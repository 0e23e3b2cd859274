"""Layers that an attribute was to freeze, and those that are frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Named(nn.Module):
    """A flag of its own, for the gradient of what it is given."""

    def __init__(self, requires_grad=False):
        super().__init__()
        self.layer, self.requires_grad = nn.Linear(8, 8), requires_grad

    def forward(self, x):
        return self.layer(x.requires_grad_(self.requires_grad))


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.two(self.one(x).relu())


def net(first=None):
    return nn.Sequential(first or nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def codes(model, steps=2):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with shapetrace.trace(model) as t:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 3).backward()
            optimizer.step()
    return [(one.code, one.culprits[0].name) for one in t.findings]


def layer(model):
    model[0].requires_grad = False


def each_layer(model):
    for child in list(model.children())[:2]:
        child.requires_grad = False


def by_setattr(model):
    setattr(model[0], "requires_grad", False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("freeze", [layer, each_layer, by_setattr])
@pytest.mark.parametrize("first", [nn.Linear, Body])
def test_an_attribute_freezes_no_module(freeze, first):
    model = net(first(8, 8) if first is nn.Linear else first())
    freeze(model)
    assert codes(model) == [("freeze-without-effect", "0")]


def by_the_method(model):
    model[0].requires_grad_(False)


def by_the_parameters(model):
    for parameter in model[0].parameters():
        parameter.requires_grad = False


def both(model):
    model[0].requires_grad = False
    model[0].requires_grad_(False)


def thawed(model):
    model[0].requires_grad = True


def without_parameters(model):
    model[1].requires_grad = False


def another_attribute(model):
    model[0].trainable = False


@pytest.mark.parametrize(
    "freeze",
    [by_the_method, by_the_parameters, both, thawed, without_parameters]
    + [another_attribute, lambda model: None],
)
def test_layers_that_are_what_they_were_told_to_be(freeze):
    model = net()
    freeze(model)
    assert codes(model) == []


def test_a_flag_of_a_module_of_its_own():
    assert codes(net(Named())) == [] and codes(net(Named(True))) == []


def test_a_layer_that_no_gradient_reaches():
    class Above(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
            self.below.requires_grad = False

        def forward(self, x):
            with torch.no_grad():
                x = self.below(x)
            return self.head(x)

    assert "freeze-without-effect" not in [code for code, _ in codes(Above())]
