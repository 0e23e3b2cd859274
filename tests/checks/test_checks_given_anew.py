"""A loss that is wrapped into a new leaf: backward() runs, and no gradient passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import Variable
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


def fitted(cut=lambda made: made, wrap=lambda loss: loss):
    model, x, y = nn.Linear(6, 1), torch.randn(5, 6), torch.randn(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = wrap(F.mse_loss(cut(model(x)), y))
        loss.backward()
        optimizer.step()


def variable(loss):
    return Variable(loss, requires_grad=True)


CUTS = {"data": lambda made: made.data, "detach": lambda made: made.detach()}


@pytest.mark.parametrize("wrap", [variable, nn.Parameter])
@pytest.mark.parametrize("name", CUTS)
def test_what_cuts_is_told_and_not_the_optimizer(name, wrap):
    assert {("dead-loss", name)} == set(findings(fitted, CUTS[name], wrap))


@pytest.mark.parametrize("wrap", [variable, nn.Parameter])
def test_a_loss_that_is_given_anew(wrap):
    def program():
        fitted(wrap=wrap)

    assert set(findings(program)) == {("dead-loss", "backward")}


class Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square().sum()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_losses_that_torch_makes_unseen():
    assert silent(fitted, lambda made: made, lambda loss: loss.clone())
    assert silent(lambda: Squares.apply(nn.Linear(6, 1)(torch.randn(5, 6))).backward())


def test_a_loss_from_before_the_block():
    model = nn.Linear(6, 1)
    loss = model(torch.randn(5, 6)).square().mean()
    with shapetrace.trace(model) as t:
        with torch.no_grad():
            model(torch.randn(5, 6)).mean()
        loss.backward()
    assert not t.findings


def test_a_number_of_its_own_is_not_the_loss_before():
    def program():
        fitted()
        nn.Parameter(torch.tensor(0.3)).backward()

    assert silent(program)


def test_several_numbers_are_no_loss():
    def program():
        made = nn.Linear(6, 1)(torch.randn(5, 6))
        F.mse_loss(made, torch.randn(5, 1))
        held = nn.Parameter(made.detach())
        held.backward(torch.ones(5, 1))

    assert silent(program)
