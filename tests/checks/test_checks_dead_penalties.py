"""Penalties on weights that have no gradient, and what only looks like one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8), (5, 5)]


class Parts:
    def __init__(self, batch, width):
        self.model = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )
        self.x, self.y = torch.randn(batch, width), torch.randn(batch, 1)
        self.weight = self.model[0].weight
        self.reference = nn.Linear(width, 1).eval()
        self.scale = nn.Parameter(torch.ones(()))

    def error(self):
        return F.mse_loss(self.model(self.x), self.y)


def by_data(parts):
    return parts.error() + 0.1 * torch.norm(parts.weight.data, p=1)


def by_detach(parts):
    return parts.error() + 0.1 * parts.weight.detach().abs().sum()


def without_autograd(parts):
    with torch.no_grad():
        penalty = parts.weight.pow(2).sum()
    return parts.error() + 0.1 * penalty


def of_all(parts):
    penalty = sum(w.data.pow(2).sum() for w in parts.model.parameters())
    return parts.error() + 0.01 * penalty


def gathered(parts):
    penalty = torch.zeros(())
    for weight in parts.model.parameters():
        penalty = penalty + weight.detach().norm()
    return parts.error() + 0.1 * penalty


def taken_off(parts):
    penalty = parts.weight.data.abs().mean()
    return parts.error() - penalty * 0.1


MISTAKES = {
    by_data: "norm",
    by_detach: "detach",
    without_autograd: "pow",
    of_all: "pow",
    gathered: "detach",
    taken_off: "abs",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("total", MISTAKES)
def test_a_penalty_without_a_gradient_is_told(total, sizes):
    parts = Parts(*sizes)
    found = findings(lambda: total(parts).backward())
    assert found == [("term-cut-off", MISTAKES[total])]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("total", MISTAKES)
def test_a_penalty_is_told_behind_the_first_step_too(total, sizes):
    parts = Parts(*sizes)
    optimizer = torch.optim.SGD(parts.model.parameters(), 0.1)

    def train():
        for step in range(2):
            optimizer.zero_grad()
            loss = total(parts) if step else parts.error()
            loss.backward()
            optimizer.step()

    assert findings(train) == [("term-cut-off", MISTAKES[total])]


def attached(parts):
    return parts.error() + 0.1 * parts.weight.abs().sum()


def scaled_by_its_size(parts):
    return parts.error() / parts.weight.data.norm()


def weighed(parts):
    return parts.error() + parts.scale * parts.weight.detach().norm()


def away_from_the_old_weights(parts):
    old = parts.weight.detach().clone() * 0.9
    return parts.error() + (parts.weight - old).pow(2).sum()


def shown_as_zero(parts):
    size = parts.weight.norm()
    return parts.error() + size - size.detach()


def of_features(parts):
    hidden = parts.model[0](parts.x)
    return parts.error() + (hidden.detach() - 1).pow(2).mean()


def of_data(parts):
    return parts.error() + parts.x.pow(2).mean()


def of_data_detached(parts):
    return parts.error() + parts.x.detach().pow(2).mean()


def above_a_reference(parts):
    """How much more is given than by a model that is left as it is."""
    with torch.no_grad():
        before = parts.reference(parts.x)
    return (parts.model(parts.x) - before).mean()


def above_a_reference_of_new_data(parts):
    x = torch.randn_like(parts.x)
    with torch.no_grad():
        before = parts.reference(x)
    return (parts.model(x) - before).mean()


def logged(parts):
    with torch.no_grad():
        parts.size = parts.weight.norm()
    return parts.error()


def multiplied(parts):
    return parts.error() * (1 + parts.weight.data.norm())


def of_frozen_weights(parts):
    for weight in parts.model[0].parameters():
        weight.requires_grad_(False)
    return parts.error() + 0.1 * parts.model[0].weight.norm()


def a_constant(parts):
    return parts.error() + torch.tensor(0.1)


MEANT = [
    attached,
    scaled_by_its_size,
    weighed,
    away_from_the_old_weights,
    shown_as_zero,
    of_features,
    of_data,
    of_data_detached,
    above_a_reference,
    above_a_reference_of_new_data,
    logged,
    multiplied,
    of_frozen_weights,
    a_constant,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("total", MEANT)
def test_what_only_looks_like_it(total, sizes):
    parts = Parts(*sizes)
    assert silent(lambda: total(parts).backward())
