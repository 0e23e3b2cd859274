"""Who is told where a matrix of all pairs meets one target for each row."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")

PAIRED = {
    "einsum": lambda a, b: torch.einsum("bi,ni->bn", a, b),
    "matmul": lambda a, b: a @ b.T,
    "mm": lambda a, b: torch.mm(a, b.t()) + 0.5,
    "cdist": lambda a, b: torch.cdist(a, b).tanh(),
}
MAKERS = {"einsum": "einsum", "matmul": "matmul", "mm": "mm", "cdist": "cdist"}


class Two(nn.Module):
    def __init__(self, name, width):
        super().__init__()
        self.one, self.two, self.name = nn.Linear(3, width), nn.Linear(1, width), name

    def forward(self, x, y):
        return PAIRED[self.name](self.one(x), self.two(y))


def first(name, rows, width, target):
    model = Two(name, width)
    x, y, wanted = torch.randn(rows, 3), torch.rand(rows, 1), torch.rand(rows, target)
    with shapetrace.trace(model) as t:
        F.mse_loss(model(x, y), wanted).backward()
    return [one.culprits[0].name for one in t.findings if one.severity != "note"]


@pytest.mark.parametrize("width", [5, 6])
@pytest.mark.parametrize("name", PAIRED)
def test_the_product_of_aligned_rows_is_told_before_the_target(name, width):
    assert first(name, 6, width, 1) == [MAKERS[name]]
    assert first(name, 6, width, 6) == []


def test_a_layer_that_makes_as_many_as_there_are_rows_is_no_matrix_of_pairs():
    model, x, y = nn.Linear(3, 6), torch.randn(6, 3), torch.rand(6, 1)
    with shapetrace.trace(model) as t:
        F.mse_loss(model(x), y).backward()
    assert t.findings[0].culprits[0].kind in ("target", "module")
