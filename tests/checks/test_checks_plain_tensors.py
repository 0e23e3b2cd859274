"""Tensors that a module keeps and is to learn, and that are no parameters of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return self.fc(x) * self.scale


class Asked(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.ones(width, requires_grad=True)


class AskedAfterwards(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.randn(width).requires_grad_()


class Wrapped(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.autograd.Variable(torch.randn(width), requires_grad=True)


class Parameter(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = nn.Parameter(torch.ones(width, requires_grad=True))


class Buffer(Net):
    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("scale", torch.ones(width))


class Constant(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.ones(width)


class Fixed(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.ones(width, requires_grad=False)


class Detached(Net):
    def __init__(self, width):
        super().__init__(width)
        self.scale = torch.ones(width, requires_grad=True)

    def forward(self, x):
        return self.fc(x) * self.scale.detach()


def learned(model, x):
    F.mse_loss(model(x), torch.zeros_like(x)).backward()


@pytest.mark.parametrize("width", [8, 5])
@pytest.mark.parametrize("kind", [Asked, AskedAfterwards, Wrapped])
def test_a_tensor_that_is_to_learn_is_no_parameter(kind, width):
    found = findings(learned, kind(width), torch.randn(5, width))
    assert [code for code, _ in found] == ["layer-not-registered"]


@pytest.mark.parametrize("width", [8, 5])
def test_so_is_one_that_is_made_in_the_block(width):
    found = findings(lambda: learned(Asked(width), torch.randn(5, width)))
    assert [code for code, _ in found] == ["layer-not-registered"]


@pytest.mark.parametrize("width", [8, 5])
@pytest.mark.parametrize("kind", [Parameter, Buffer, Constant, Fixed, Detached])
def test_parameters_and_constants(kind, width):
    model = kind(width)
    assert silent(learned, model, torch.randn(5, width))


@pytest.mark.parametrize("width", [8, 5])
def test_an_optimizer_that_was_given_it(width):
    model = Asked(width)
    optimizer = torch.optim.SGD([*model.parameters(), model.scale], 0.1)

    def program():
        for _ in range(2):
            optimizer.zero_grad()
            learned(model, torch.randn(5, width))
            optimizer.step()

    assert silent(program)


@pytest.mark.parametrize("width", [8, 5])
def test_data_whose_gradient_is_wanted(width):
    model = Parameter(width)
    x = torch.randn(5, width, requires_grad=True)
    assert silent(learned, model, x)


@pytest.mark.filterwarnings("ignore")
def test_the_fix_makes_a_parameter_of_it():
    model = AskedAfterwards(8)
    with shapetrace.trace(model) as t:
        learned(model, torch.randn(5, 8))
    (found,) = t.findings
    assert found.culprits[0].name == ""
    line = "self.scale = nn.Parameter(torch.randn(width).requires_grad_())"
    assert found.fixes[0].line == line
