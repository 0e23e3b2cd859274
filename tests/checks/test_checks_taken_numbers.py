"""Terms of a loss that were made numbers of, and numbers that are meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

#: torch says once in a process that a number has no gradient
pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor")

SIZES = [(6, 8), (5, 5)]


class Parts:
    def __init__(self, batch, width):
        self.model = nn.Linear(width, 1)
        self.x, self.y = torch.randn(batch, width), torch.randn(batch, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)

    def terms(self):
        h = self.model(self.x)
        return F.mse_loss(h, self.y), h.abs().mean()


def in_the_sum(parts):
    error, size = parts.terms()
    loss = error + 0.1 * size.item()
    loss.backward()


def the_other_way_round(parts):
    error, size = parts.terms()
    loss = 0.1 * size.item() + error
    loss.backward()


def under_a_name(parts):
    error, size = parts.terms()
    penalty = size.detach().item()
    loss = error + 0.1 * penalty
    loss.backward()


def of_all_parameters(parts):
    error, _ = parts.terms()
    penalty = sum(weight.abs().sum().item() for weight in parts.model.parameters())
    loss = error + 0.01 * penalty
    loss.backward()


def added_in_place(parts):
    error, size = parts.terms()
    error += float(size)
    error.backward()


def gathered(parts):
    error, size = parts.terms()
    penalty = 0.0
    for _ in range(2):
        penalty += size.item()
    loss = error + penalty
    loss.backward()


MISTAKES = {
    in_the_sum: "item",
    the_other_way_round: "item",
    under_a_name: "item",
    of_all_parameters: "item",
    added_in_place: "float",
    gathered: "item",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MISTAKES)
def test_a_term_that_is_a_number_is_told(program, sizes):
    assert findings(program, Parts(*sizes)) == [("term-cut-off", MISTAKES[program])]


def tensors(parts):
    error, size = parts.terms()
    (error + 0.1 * size).backward()


def weighed_by_their_sizes(parts):
    error, size = parts.terms()
    (error + size * (error.item() / size.item())).backward()


def a_weight_under_a_name(parts):
    error, size = parts.terms()
    weight = min(1.0, size.item())
    loss = error + weight * size
    loss.backward()


def scaled_first(parts):
    error, size = parts.terms()
    scaled = error * size.item()
    loss = scaled + 0.5
    loss.backward()


def a_running_mean(parts):
    running = 0.0
    for _ in range(2):
        error, _ = parts.terms()
        error.backward()
        running += error.item()


def logged_together(parts):
    error, size = parts.terms()
    error.backward()
    return error.detach() + size.item()


def a_number_of_data(parts):
    error, _ = parts.terms()
    (error + parts.y.abs().mean().item()).backward()


def flooded(parts):
    error, _ = parts.terms()
    ((error - 0.1).abs() + 0.1).backward()


def printed(parts):
    error, size = parts.terms()
    print(f"{error.item():.2f} {float(size):.2f}")
    (error + size).backward()


def a_temperature(parts):
    error, size = parts.terms()
    (error / (1 + size.item())).backward()


def of_a_target(parts):
    with torch.no_grad():
        mean = parts.model(parts.x).mean().item()
    F.mse_loss(parts.model(parts.x), parts.y + mean).backward()


MEANT = [
    tensors,
    weighed_by_their_sizes,
    a_weight_under_a_name,
    scaled_first,
    a_running_mean,
    logged_together,
    a_number_of_data,
    flooded,
    printed,
    a_temperature,
    of_a_target,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MEANT)
def test_what_only_looks_like_it_is_not(program, sizes):
    assert silent(program, Parts(*sizes))


@pytest.mark.parametrize(
    "program, line",
    [
        (in_the_sum, "loss = error + 0.1 * size"),
        (under_a_name, "penalty = size"),
        (added_in_place, "error += size"),
    ],
)
def test_the_fix_is_the_line_with_the_tensor(program, line):
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            program(Parts(6, 8))
    assert t.findings[0].fixes[0].line == line
