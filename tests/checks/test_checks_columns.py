"""One column of a tensor that meets several of its columns, along them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import silent

pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")


def codes(program, *args):
    with shapetrace.trace(checks={"silent-broadcast"}) as t:
        program(*args)
    return [(one.code, one.culprits[0].name) for one in t.findings]


def boxes(count, learned):
    given = torch.rand(count, 5)
    return nn.Linear(5, 5)(given) if learned else given


WRONG = {
    "centre": lambda b: b[:, 2] / 7.0 - 0.5 * b[:, 2:4],
    "scaled": lambda b: b[:, 2:4] * b[:, 4],
    "shifted": lambda b: (b[:, 0] + 0.1).clamp(0, 1) + b[:, 3:],
    "selected": lambda b: b.select(1, 2) - b[:, 2:4].square(),
    "narrowed": lambda b: b.narrow(1, 0, 2) / b[..., 4],
}
RIGHT = {
    "a column that is kept": lambda b: b[:, 2:3] / 7.0 - 0.5 * b[:, 2:4],
    "unsqueezed": lambda b: b[:, 2:4] * b[:, 4].unsqueeze(1),
    "none": lambda b: b[:, 2:4] * b[:, 4, None],
    "columns": lambda b: b[:, :2] - 0.5 * b[:, 2:4],
    "a row": lambda b: b[:, 2:4] - b[0, 2:4],
    "one of the columns' own": lambda b: b[:, 2:4] - b[:, 2:4].mean(0),
    "of another tensor": lambda b: b[:, 2:4] * torch.rand(2),
    "transposed": lambda b: b[:, 2:4].T * b[:, 4],
    "rows after a transpose": lambda b: b.T[2:4] - b.T[4],
    "columns one by one": lambda b: torch.stack([b[:, 2] - b[:, 0], b[:, 3]], 1),
}


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("name", WRONG)
def test_a_column_of_two_rows_along_two_columns(name, learned):
    def program(count):
        b = boxes(count, learned)
        F.mse_loss(WRONG[name](b), torch.rand(count, 2))

    assert codes(program, 2)[0] in (
        ("silent-broadcast", "getitem"),
        ("silent-broadcast", "select"),
    )


@pytest.mark.parametrize("count", [2, 5, 6])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("name", RIGHT)
def test_columns_that_meet_as_they_should(name, learned, count):
    def program():
        RIGHT[name](boxes(count, learned)).sum()

    assert codes(program) == []


def test_a_square_is_the_same_both_ways():
    def program():
        distances = torch.cdist(torch.rand(4, 3), torch.rand(4, 3))
        return distances - distances[:, 0] - distances[0][:, None]

    assert silent(program)


def test_the_colon_is_told_where_it_is_the_number_of_columns():
    with shapetrace.trace(checks={"silent-broadcast"}) as t:
        box = torch.rand(2, 5)
        box[:, 2] - box[:, 2:4]  # the centre
        box[:, 4] * box[:, 2:4]  # the confidence
    assert len(t.findings) == 2
    for found in t.findings:  # the same mistake twice is mended everywhere by one fix
        assert [line.strip() for line in found.fixes[0].line.splitlines()] == [
            "box[:, :2] - box[:, 2:4]",
            "box[:, 4].unsqueeze(1) * box[:, 2:4]",
        ]
        assert found.fixes[0].status == "verified"
