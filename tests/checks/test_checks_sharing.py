"""One layer several times in a list, and layers that are shared on purpose."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

WIDTH = 8


def linear():
    return nn.Linear(WIDTH, WIDTH)


class Stack(nn.Module):
    """Layers one behind the other."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
        return x


class Multiplied(Stack):
    def __init__(self):
        super().__init__(None)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH)] * 3)


class MultipliedSequential(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.net = nn.Sequential(*[nn.Linear(8, 8), nn.Tanh()] * depth)

    def forward(self, x):
        return self.net(x)


class MultipliedBlocks(Stack):
    def __init__(self):
        super().__init__(None)
        blocks = [nn.Sequential(nn.Linear(8, 8), nn.ReLU())] * 2
        self.layers = nn.ModuleList(blocks)


def block(width):
    layers = [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers)


class MultipliedFunction(Stack):
    """A function of one's own builds what is multiplied."""

    def __init__(self):
        super().__init__(None)
        self.layers = nn.ModuleList([block(8)] * 2)


class OfOne(Stack):
    """A layer with a name: ALBERT's layers share their weights."""

    def __init__(self):
        super().__init__(None)
        layer = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.ModuleList([layer] * 3)


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.act = nn.ModuleList([nn.ReLU()] * 3)
        self.drop = nn.ModuleList([nn.Dropout(0.5)] * 3)

    def forward(self, x):
        for fc, act, drop in zip(self.fc, self.act, self.drop):
            x = drop(act(fc(x)))
        return x


class Twice(nn.Module):
    """Two views of each sample through one encoder."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, x):
        return self.net(x) - self.net(x + 0.1)


class Widths(nn.Module):
    """Sizes that are multiplied, and no layers."""

    def __init__(self):
        super().__init__()
        widths = [8] * 3
        pairs = zip(widths, widths[1:])
        self.net = nn.Sequential(*[nn.Linear(*pair) for pair in pairs])

    def forward(self, x):
        return self.net(self.net(x))


class UsedOnce(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8)] * 2)

    def forward(self, x):
        return self.layers[-1](x)


class Unrolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(8, 8)])

    def forward(self, x):
        state = torch.zeros_like(x)
        for _ in range(3):
            state = self.cells[0](x, state)
        return state


def loss_of(model):
    with shapetrace.trace(model) as t:
        F.mse_loss(model(torch.randn(8, 8)), torch.randn(8, 8)).backward()
    return [one for one in t.findings if one.severity != "note"]


@pytest.mark.parametrize(
    "model",
    [
        OfOne,
        Activations,
        Twice,
        Widths,
        UsedOnce,
        Unrolled,
        lambda: Stack(nn.ModuleList([linear() for _ in range(3)])),
        lambda: Stack(nn.ModuleList(copy.deepcopy(linear()) for _ in range(3))),
        lambda: Stack(nn.Sequential(linear(), linear())),
        lambda: Stack((lambda layer: nn.ModuleList([layer, layer]))(linear())),
        lambda: Stack(nn.ModuleList([linear()] + [linear()])),
    ],
)
def test_what_is_meant(model):
    assert loss_of(model()) == []


@pytest.mark.parametrize(
    ("model", "name", "line"),
    [
        (
            Multiplied,
            "layers.0",
            "self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(3)])",
        ),
        (
            MultipliedSequential,
            "net.0",
            "self.net = nn.Sequential(*[layer for _ in range(depth) "
            "for layer in (nn.Linear(8, 8), nn.Tanh())])",
        ),
        (
            MultipliedBlocks,
            "layers.0",
            "blocks = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)]",
        ),
        (
            MultipliedFunction,
            "layers.0",
            "self.layers = nn.ModuleList([block(8) for _ in range(2)])",
        ),
    ],
)
def test_a_layer_that_is_multiplied(model, name, line):
    with pytest.warns(shapetrace.ShapeTraceWarning, match="one layer several times"):
        (one,) = loss_of(model())
    assert one.code == "shared-layers"
    assert [(who.kind, who.name) for who in one.culprits] == [("module", name)]
    assert [fix.line for fix in one.fixes] == [line]
