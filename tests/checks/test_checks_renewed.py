"""Parameters and layers that a forward makes anew, and what only looks like them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(5, 12, 4), (8, 8, 8)]


class Base(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.width, self.classes = width, classes
        self.inp, self.fc = nn.Linear(width, width), nn.Linear(width, classes)
        self.kept = nn.Parameter(torch.ones(width))
        self.lazy = None

    def forward(self, x):
        return self.head(self.inp(x).relu())


class Normalised(Base):
    def head(self, x):
        self.fc.weight = nn.Parameter(F.normalize(self.fc.weight))
        return self.fc(x)


class InAHelper(Base):
    def renormalise(self):
        weight = self.fc.weight.data
        self.fc.weight = torch.nn.Parameter(weight / weight.norm(dim=1, keepdim=True))

    def head(self, x):
        self.renormalise()
        return self.fc(x)


class Local(Base):
    def head(self, x):
        weight = nn.Parameter(torch.randn(self.classes, self.width))
        return F.linear(x, weight)


class Scale(Base):
    def head(self, x):
        self.scale = nn.Parameter(torch.ones(1))
        return self.fc(x) * self.scale


class Pruned(Base):
    def head(self, x):
        mask = (self.fc.weight.abs() > 0.01).float()
        return F.linear(x, nn.Parameter(self.fc.weight * mask), self.fc.bias)


class LayerAtOnce(Base):
    def head(self, x):
        return self.fc(nn.Linear(self.width, self.width)(x))


class LayerByName(Base):
    def head(self, x):
        project = nn.Linear(self.width, self.width).to(x.device)
        x = project(x).relu()
        return self.fc(x)


class LayerOfItsOwn(Base):
    def head(self, x):
        self.project = nn.Linear(x.shape[1], self.width)
        return self.fc(self.project(x))


class Generated(Base):
    """A weight that another module computes, as a parameter of its own."""

    def __init__(self, width, classes):
        super().__init__(width, classes)
        self.make = nn.Linear(1, width * classes)

    def head(self, x):
        made = self.make(torch.ones(1)).view(self.classes, self.width)
        self.fc.weight = nn.Parameter(made)
        return self.fc(x)


class GeneratedAtOnce(Generated):
    def head(self, x):
        self.fc.bias = nn.Parameter(self.shift(torch.ones(1)))
        return self.fc(x)

    def __init__(self, width, classes):
        super().__init__(width, classes)
        self.shift = nn.Linear(1, classes)


MISTAKES = [
    *(Generated, GeneratedAtOnce),
    *(Normalised, InAHelper, Local, Scale, Pruned),
    *(LayerAtOnce, LayerByName, LayerOfItsOwn),
]


class NormalisedInPlace(Base):
    def head(self, x):
        self.fc.weight.data = F.normalize(self.fc.weight.data)
        return self.fc(x)


class NormalisedAsItIs(Base):
    def head(self, x):
        return F.linear(F.normalize(x), F.normalize(self.fc.weight))


class Lazy(Base):
    def head(self, x):
        if self.lazy is None:
            self.lazy = nn.Parameter(torch.randn(self.classes, x.shape[1]))
        return F.linear(x, self.lazy)


class LazyLayer(Base):
    def build(self, x):
        if hasattr(self, "project"):
            return
        self.project = nn.Linear(x.shape[1], self.width)

    def head(self, x):
        self.build(x)
        return self.fc(self.project(x))


class Kernel(Base):
    """A fixed kernel, which is no weight that learns."""

    def head(self, x):
        kernel = nn.Parameter(torch.tensor([[[1.0, 0.0, -1.0]]]))
        return self.fc(x + F.conv1d(x[:, None], kernel, padding=1)[:, 0])


class OfANumber(Base):
    """A number of a layer's is read, and none of its weights."""

    def head(self, x):
        wide = nn.Parameter(torch.tensor([float(self.inp.in_features)]))
        return self.fc(x / wide)


class KernelOfALayer(Base):
    def head(self, x):
        edges = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        edges.weight.data = torch.tensor([[[1.0, 0.0, -1.0]]])
        return self.fc(x + edges(x[:, None])[:, 0])


class Frozen(Base):
    def head(self, x):
        self.last = nn.Parameter(torch.ones(1), requires_grad=False)
        return self.fc(x) * self.last


class WithoutWeights(Base):
    def head(self, x):
        x = nn.Dropout(0.1)(nn.LayerNorm(self.width)(x))
        return nn.LogSoftmax(dim=1)(self.fc(nn.ReLU()(x)))


class MovingAverage(Base):
    """A code book that is an average of what was put on it: no gradient reaches it."""

    def head(self, x):
        book = self.inp.weight
        near = torch.cdist(x, self.codes.weight).argmin(1)
        counts = F.one_hot(near, self.width).float()
        with torch.no_grad():
            new = 0.9 * self.codes.weight + 0.1 * (counts.T @ x)
        self.codes.weight = nn.Parameter(new)
        found = counts @ self.codes.weight
        return self.fc(x + (found - x).detach()) + 0 * book.sum()

    def __init__(self, width, classes):
        super().__init__(width, classes)
        self.codes = nn.Embedding(width, width)


class Inner(Base):
    """What is found by steps of its own within the forward."""

    def head(self, x):
        delta = nn.Parameter(torch.ones(self.width))
        inner = torch.optim.SGD([delta], 0.1)
        ((x.detach() + delta) ** 2).mean().backward()
        inner.step()
        return self.fc(x + delta)


class Forces(Base):
    """The gradient by its own input is a part of the result."""

    def head(self, x):
        place = nn.Parameter(x.detach())
        energy = (self.fc(place) ** 2).sum()
        (force,) = torch.autograd.grad(energy, place, create_graph=True)
        return self.fc(x) + self.fc(force)


class FirstState(Base):
    def head(self, x):
        state = nn.Parameter(torch.zeros(len(x), self.width))
        return self.fc(x + state)


class Noise(Base):
    def head(self, x):
        noise = nn.Parameter(torch.randn(x.size(0), x.size(1)))
        return self.fc(x + noise)


class MadeBefore(Base):
    def build(self):
        self.project = nn.Linear(self.width, self.width)
        self.scale = nn.Parameter(torch.ones(1))

    def __init__(self, width, classes):
        super().__init__(width, classes)
        self.build()

    def head(self, x):
        return self.fc(self.project(x)) * self.scale


class OtherMethods(Base):
    """The parameters are put back to their first values by who wants it."""

    def reset(self):
        self.kept = nn.Parameter(torch.ones(self.width))
        self.fc.weight = nn.Parameter(torch.randn(self.classes, self.width))

    def head(self, x):
        return self.fc(x * self.kept)


class RenewedOnce(Base):
    def head(self, x):
        if self.lazy is None:
            self.lazy = True
            self.renormalise()
        return self.fc(x)

    def renormalise(self):
        weight = self.fc.weight.data
        self.fc.weight = torch.nn.Parameter(weight / weight.norm(dim=1, keepdim=True))


class Made(Base):
    """Weights that another layer makes for each batch."""

    def head(self, x):
        weight = self.inp(x).mean(0).expand(self.classes, -1)
        return torch.func.functional_call(self.fc, {"weight": weight}, (x,))


CORRECT = [
    *(NormalisedInPlace, NormalisedAsItIs, Lazy, LazyLayer, Kernel, KernelOfALayer),
    OfANumber,
    *(Frozen, WithoutWeights, MovingAverage, Inner, Forces, FirstState, Noise),
    *(MadeBefore, OtherMethods, Made, RenewedOnce),
]


def traced(kind, sizes, steps, given):
    torch.manual_seed(0)
    batch, width, classes = sizes
    model = kind(width, classes)
    model(torch.randn(batch, width))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)

    def program():
        for _ in range(steps):
            x, y = torch.randn(batch, width), torch.randint(classes, (batch,))
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    with shapetrace.trace(*[model] * given) as t:
        program()
    return [found for found in t.findings if found.code == "parameter-made-anew"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps, given", [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", MISTAKES)
def test_what_is_made_at_every_forward(kind, sizes, steps, given):
    (found,) = traced(kind, sizes, steps, given)
    assert found.severity == "warning"
    assert "each time it runs" in found.message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps, given", [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind", CORRECT)
def test_what_looks_like_it(kind, sizes, steps, given):
    assert traced(kind, sizes, steps, given) == []


def test_a_script_that_makes_its_layers_in_a_function():
    def program():
        layer, scale = nn.Linear(8, 4), nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([*layer.parameters(), scale], 0.1)
        F.cross_entropy(
            layer(torch.randn(6, 8)) * scale, torch.arange(6) % 4
        ).backward()
        optimizer.step()

    with shapetrace.trace() as t:
        program()
        program()
    assert [found.message for found in t.findings] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("kind, alarms", [(InAHelper, 1), (RenewedOnce, 0)])
def test_what_is_made_once_where_no_step_is_seen(kind, alarms, sizes):
    batch, width, classes = sizes
    model, x = kind(width, classes), torch.randn(batch, width)
    model(x)
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), torch.randint(classes, (batch,))).backward()
    codes = [found.code for found in t.findings]
    assert codes.count("parameter-made-anew") == alarms
