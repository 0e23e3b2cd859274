"""Layers that their module does not know, and what only looks like them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import silent


class Base(nn.Module):
    """Layers between a first and a last one, which `build` puts somewhere."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(8, 8), nn.Linear(8, 8)

    def each(self, layers, x):
        for layer in layers:
            x = layer(x).relu()
        return self.out(x)


class InAList(Base):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8) for _ in range(2)]

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class Appended(Base):
    def __init__(self):
        super().__init__()
        self.layers = []
        for _ in range(2):
            self.layers.append(nn.Linear(8, 8))

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class InADictionary(Base):
    def __init__(self):
        super().__init__()
        self.layers = {"one": nn.Linear(8, 8), "two": nn.Linear(8, 8)}

    def forward(self, x):
        return self.each(self.layers.values(), self.inp(x))


class Named(Base):
    def __init__(self):
        super().__init__()
        layers = [nn.Linear(8, 8), nn.Linear(8, 8)]
        self.layers = layers

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class Copies(Base):
    def __init__(self):
        super().__init__()
        layer = nn.Sequential(nn.Linear(8, 8))
        self.layers = [copy.deepcopy(layer) for _ in range(2)]

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class Parameters(Base):
    def __init__(self):
        super().__init__()
        self.scales = [nn.Parameter(torch.ones(8)) for _ in range(2)]

    def forward(self, x):
        x = self.inp(x)
        for scale in self.scales:
            x = x * scale
        return self.out(x)


HIDDEN = {
    InAList: "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])",
    Appended: "self.layers = nn.ModuleList()",
    InADictionary: 'self.layers = nn.ModuleDict({"one": nn.Linear(8, 8), '
    '"two": nn.Linear(8, 8)})',
    Named: "self.layers = nn.ModuleList(layers)",
    Copies: "self.layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(2)])",
    Parameters: "self.scales = nn.ParameterList([nn.Parameter(torch.ones(8)) "
    "for _ in range(2)])",
}


def learn(model, batch=5):
    x, y = torch.randn(batch, 8), torch.randint(8, (batch,))
    F.cross_entropy(model(x), y).backward()


@pytest.mark.parametrize("batch", [5, 8])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("kind", HIDDEN, ids=lambda kind: kind.__name__)
def test_layers_in_what_no_module_looks_into(kind, given, batch):
    torch.manual_seed(0)
    model = kind()
    if kind is Parameters and not given:
        pytest.skip("a parameter is called by nobody")
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(*[model] * given) as t:
            learn(model, batch)
    (found,) = t.findings
    assert found.code == "layer-not-registered"
    assert found.culprits[0].name == ("" if given else kind.__name__)
    assert found.fixes[0].line == HIDDEN[kind]


class Registered(Base):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class ListOfRegistered(Base):
    """A list beside the attributes, to loop over."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.layers = [self.one, self.two]

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class Added(Base):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8) for _ in range(2)]
        for i, layer in enumerate(self.layers):
            self.add_module(f"layer{i}", layer)

    def forward(self, x):
        return self.each(self.layers, self.inp(x))


class Unpacked(Base):
    def __init__(self):
        super().__init__()
        layers = [nn.Linear(8, 8), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.out(self.layers(self.inp(x)))


class HiddenTeacher(Base):
    """A teacher stands in a list so that nobody saves or trains it."""

    def __init__(self):
        super().__init__()
        self.teacher = [nn.Linear(8, 8).requires_grad_(False)]

    def forward(self, x):
        return self.out(self.inp(x)) + self.teacher[0](x)


class HiddenWithoutAutograd(Base):
    def __init__(self):
        super().__init__()
        self.teacher = [nn.Linear(8, 8)]

    def forward(self, x):
        with torch.no_grad():
            known = self.teacher[0](x)
        return self.out(self.inp(x)) + known


class GivenLayers(Base):
    def forward(self, x, layers):
        return self.each(layers, self.inp(x))


class GivenWeights(Base):
    def forward(self, x, weight):
        return self.out(F.linear(self.inp(x), weight))


class Activations(Base):
    """Functions in a list, which have nothing to learn."""

    def __init__(self):
        super().__init__()
        self.activations = [nn.ReLU(), nn.Tanh()]

    def forward(self, x):
        return self.each(self.activations, self.inp(x))


KNOWN = [
    *(Registered, ListOfRegistered, Added, Unpacked, HiddenTeacher),
    *(HiddenWithoutAutograd, Activations),
]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
def test_layers_that_are_known_or_do_not_learn(kind, given):
    model = kind()
    with shapetrace.trace(*[model] * given) as t:
        learn(model)
    assert [str(found) for found in t.findings if found.severity != "note"] == []


def trained_by_hand():
    """The optimizer is given the layers of the list too."""
    model = InAList()
    others = [p for layer in model.layers for p in layer.parameters()]
    optimizer = torch.optim.SGD([*model.parameters(), *others], lr=0.1)
    optimizer.zero_grad()
    learn(model)
    optimizer.step()


def layers_as_an_argument():
    model, layers = GivenLayers(), [nn.Linear(8, 8), nn.Linear(8, 8)]
    F.mse_loss(model(torch.randn(5, 8), layers), torch.randn(5, 8)).backward()


def weights_as_an_argument():
    model, weight = GivenWeights(), torch.randn(8, 8, requires_grad=True)
    F.mse_loss(model(torch.randn(5, 8), weight), torch.randn(5, 8)).backward()


def functional():
    """Other weights are put in the places of a model's own."""
    model = Registered()
    weights = {k: p.detach().clone() for k, p in model.named_parameters()}
    weights = {k: p.requires_grad_() for k, p in weights.items()}
    out = torch.func.functional_call(model, weights, (torch.randn(5, 8),))
    F.mse_loss(out, torch.randn(5, 8)).backward()


def a_loss_that_calls_a_model():
    """A critic in a list of the loss, which another optimizer trains."""

    class Adversarial(nn.Module):
        def __init__(self, critic):
            super().__init__()
            self.critic = [critic]

        def forward(self, fake):
            return -self.critic[0](fake).mean()

    maker, critic = nn.Linear(8, 8), nn.Linear(8, 1)
    Adversarial(critic)(maker(torch.randn(5, 8))).backward()


def tied():
    """A head in a list is the embedding's weight."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(8, 8)
            self.head = [self.embed]

        def forward(self, tokens):
            return F.linear(self.embed(tokens), self.head[0].weight)

    out = Tied()(torch.randint(8, (5,)))
    F.cross_entropy(out, torch.randint(8, (5,))).backward()


OTHERS = [
    *(trained_by_hand, layers_as_an_argument, weights_as_an_argument, functional),
    *(a_loss_that_calls_a_model, tied),
]


@pytest.mark.parametrize("program", OTHERS, ids=lambda program: program.__name__)
def test_layers_of_others(program):
    assert silent(program)
