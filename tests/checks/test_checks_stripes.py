"""Columns against rows in code that flattens and slices, and views that cut stripes."""

import pytest
import torch
from torch import nn

import shapetrace

#: a finding is told as a warning too
pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")

STRIPES = nn.Conv2d(1, 3, 3, padding=1)
CRITIC = nn.Linear(6, 1)


def codes(model, program):
    torch.manual_seed(0)
    with shapetrace.trace(model) as t:
        program()
    return {found.code for found in t.findings if found.severity != "note"}


def stripes(numbers):
    """A map of 8 rows of 4 in so many stripes, each averaged."""
    x = STRIPES(torch.rand(2, 1, 8, 4))
    parts = []
    for number in numbers:
        parts.append(x.view(2, 3, number, -1).mean(3))
    torch.cat(parts, 2).pow(2).mean().backward()


def test_stripes_of_which_one_number_is_that_of_the_columns():
    assert codes(STRIPES, lambda: stripes([1, 2, 4])) == set()


def test_one_view_that_gives_the_sizes_another_order():
    assert codes(STRIPES, lambda: stripes([4])) == {"view-as-permute"}


def critic(keeps):
    """Steps and environments as one batch, with and without the value's dimension."""
    observed, returns = torch.rand(4, 5, 6), torch.rand(4, 5, 1)
    values = CRITIC(observed.reshape(-1, 6))
    returns = returns.reshape(-1, 1)
    error = returns - (values if keeps else values[:, 0])
    error.pow(2).mean().backward()


@pytest.mark.parametrize("keeps", [False, True])
def test_steps_and_environments_as_one_batch(keeps):
    assert codes(CRITIC, lambda: critic(keeps)) == set(
        ["silent-broadcast"] * (not keeps)
    )


def measured(keeps):
    """The column of an output by a slice, on the line where it meets measurements."""
    measurements = torch.rand(7)[:, None] if keeps else torch.rand(7)
    out = CRITIC(torch.rand(9, 6))
    error = out[2:9, 0:1] - measurements
    error.pow(2).mean().backward()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_column_that_a_slice_has_left_meets_a_row(keeps):
    found = codes(CRITIC, lambda: measured(keeps))
    assert found == set(["silent-broadcast"] * (not keeps))
