"""Two layers of one name in a container, and names that come again on purpose."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

WIDTH = 8


def linear():
    return nn.Linear(WIDTH, WIDTH)


class Added(nn.Module):
    """A norm is put in for each kind of it, one of them by a name that is taken."""

    def __init__(self, kind="batch"):
        super().__init__()
        self.net = nn.Sequential()
        self.net.add_module("fc1", linear())
        if kind == "layer":
            self.net.add_module("norm1", nn.LayerNorm(WIDTH))
        else:
            self.net.add_module("norm1", nn.BatchNorm1d(WIDTH))
        self.net.add_module("fc2", linear())
        if kind == "layer":
            self.net.add_module("norm2", nn.LayerNorm(WIDTH))
        else:
            self.net.add_module("norm1", nn.BatchNorm1d(WIDTH))

    def forward(self, x):
        return self.net(x)


class Ordered(Added):
    def __init__(self):
        super().__init__("layer")
        pairs = [("fc1", linear()), ("act", nn.Tanh()), ("fc2", linear())]
        self.net = nn.Sequential(OrderedDict([*pairs]))
        self.net = nn.Sequential(
            OrderedDict(
                [
                    ("fc1", linear()),
                    ("act", nn.Tanh()),
                    ("fc2", linear()),
                    ("act", nn.Tanh()),
                ]
            )
        )


class Local(Added):
    def __init__(self):
        super().__init__("layer")
        net = nn.Sequential()
        net.add_module("first", linear())
        net.add_module("tanh", nn.Tanh())
        net.add_module("first", nn.Linear(WIDTH, WIDTH))
        self.net = net


def findings(model):
    x, y = torch.randn(WIDTH, WIDTH), torch.randint(0, WIDTH, (WIDTH,))
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), y).backward()
    return [one for one in t.findings if one.code == "layer-replaced"]


@pytest.mark.parametrize(
    ("model", "name"),
    [(Added, "net.norm1"), (Ordered, "net.act"), (Local, "net.first")],
)
def test_two_layers_of_one_name(model, name):
    with pytest.warns(shapetrace.ShapeTraceWarning, match="is not in the model"):
        (one,) = findings(model())
    who = [(each.kind, each.name) for each in one.culprits]
    assert who == [("module", name), ("module", "net")]


class Chosen(Added):
    """One name, one layer for each case."""

    def __init__(self, deep=False):
        super().__init__("layer")
        net = nn.Sequential()
        net.add_module("fc", linear())
        if deep:
            net.add_module("last", nn.Sequential(linear(), nn.Tanh()))
        else:
            net.add_module("last", nn.Linear(WIDTH, WIDTH))
        if not deep:
            net.add_module("norm", nn.LayerNorm(WIDTH))
        if deep:
            net.add_module("norm", nn.BatchNorm1d(WIDTH))
        self.net = net


class TwoContainers(Added):
    def __init__(self):
        super().__init__("layer")
        self.net, self.other = nn.Sequential(), nn.Sequential()
        self.net.add_module("fc", linear())
        self.other.add_module("fc", nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        return self.other(self.net(x))


class InALoop(Added):
    def __init__(self):
        super().__init__("layer")
        self.net = nn.Sequential()
        for at in range(3):
            self.net.add_module(f"fc{at}", linear())
            self.net.add_module(f"act{at}", nn.Tanh())


class LoopOfOne(Added):
    """The last layer of a loop is meant, which a name says that comes again."""

    def __init__(self):
        super().__init__("layer")
        self.net = nn.Sequential()
        for _ in range(3):
            self.net.add_module("fc", linear())


class Default(Added):
    def __init__(self, tanh=True):
        super().__init__("layer")
        self.net = nn.Sequential()
        self.net.add_module("fc", linear())
        self.net.add_module("act", nn.ReLU())
        if tanh:
            self.net.add_module("act", nn.Tanh())


class Attribute(Added):
    def __init__(self):
        super().__init__("layer")
        self.net = linear()
        self.net = linear()


class Wrapped(Added):
    def __init__(self):
        super().__init__("layer")
        self.net = linear()
        self.net = nn.Sequential(OrderedDict([("inner", self.net), ("act", nn.Tanh())]))


class OwnMethod(Added):
    def __init__(self):
        super().__init__("layer")
        self.add_module("first", linear())
        self.add_module("second", linear())

    def forward(self, x):
        return self.second(self.first(x))


class Dictionary(Added):
    def __init__(self):
        super().__init__("layer")
        self.net = nn.ModuleDict({"a": linear(), "b": linear()})

    def forward(self, x):
        return self.net["b"](self.net["a"](x))


class Computed(Added):
    def __init__(self):
        super().__init__("layer")
        names = ["a", "b", "c"]
        self.net = nn.Sequential(OrderedDict((name, linear()) for name in names))


class ComputedTwice(Added):
    def __init__(self):
        super().__init__("layer")
        front = [(f"fc{at}", linear()) for at in (0, 1)]
        back = [(f"fc{at}", linear()) for at in (2, 3)]
        self.net = nn.Sequential(OrderedDict(front + back))


class NamedByVariables(Added):
    def __init__(self, one="a", two="b"):
        super().__init__("layer")
        self.net = nn.Sequential(OrderedDict([(one, linear()), (two, linear())]))


class OneVariable(Added):
    """A local name that stands for one container after the other."""

    def __init__(self):
        super().__init__("layer")
        block = nn.Sequential()
        block.add_module("fc", nn.Linear(WIDTH, WIDTH))
        self.first = block
        block = nn.Sequential()
        block.add_module("fc", nn.Linear(WIDTH, WIDTH))
        self.second = block

    def forward(self, x):
        return self.second(self.first(x))


class Tried(Added):
    def __init__(self):
        super().__init__("layer")
        self.net = nn.Sequential()
        try:
            self.net.add_module("fc", nn.Linear(WIDTH, -1))
        except RuntimeError:
            self.net.add_module("fc", nn.Linear(WIDTH, WIDTH))


class Unused(Added):
    """A container that nothing calls."""

    def __init__(self):
        super().__init__("layer")
        self.spare = nn.Sequential(OrderedDict([("a", linear()), ("a", linear())]))


@pytest.mark.parametrize(
    "model",
    [
        lambda: Added("layer"),
        Chosen,
        lambda: Chosen(True),
        TwoContainers,
        InALoop,
        LoopOfOne,
        Default,
        Attribute,
        Wrapped,
        OwnMethod,
        Dictionary,
        Computed,
        ComputedTwice,
        NamedByVariables,
        OneVariable,
        Tried,
        Unused,
    ],
)
def test_names_that_come_again_on_purpose(model):
    assert findings(model()) == []
