"""Indices of several dimensions, and a tensor that has kept one of size 1."""

import re

import pytest
import torch
from failures import failure_of
from torch import nn

#: samples, height and width: all distinct, and all equal but the last
SIZES = [(4, 6, 9), (3, 5, 5)]


class Disparity(nn.Module):
    def __init__(self, squeezed=False):
        super().__init__()
        self.conv, self.squeezed = nn.Conv2d(3, 8, 1), squeezed

    def forward(self, x):
        return self.conv(x).softmax(1).sum(1, keepdim=not self.squeezed)


def told(sizes, squeezed=False, flat=False):
    samples, height, width = sizes
    x, true = torch.randn(samples, 3, height, width), torch.ones(sizes)
    model = Disparity(squeezed)

    def step():
        made = model(x)
        i, j, k = torch.nonzero(true > 0, as_tuple=True)
        if flat:
            return made[i, j + 100, k].sum()
        return (true[i, j, k] - made[i, j, k]).abs().mean()

    return failure_of(model, step)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_dimension_that_was_kept_is_dropped(sizes):
    found = told(sizes)
    assert found.culprits[0].name == "sum"
    first = found.fixes[0]
    line = "return (true[i, j, k] - made.squeeze(1)[i, j, k]).abs().mean()"
    assert (first.line, first.status) == (line, "verified")


@pytest.mark.parametrize("sizes", SIZES)
def test_the_index_that_is_too_large_is_named(sizes):
    message = told(sizes).message
    said = re.search(r"index (\d+) is out of range; (\d+) \(dim (\d)\) exist", message)
    index, size, dim = map(int, said.groups())
    assert index == sizes[dim] - 1
    assert size == (sizes[0], 1, *sizes[1:])[dim]


@pytest.mark.parametrize("sizes", SIZES)
def test_where_no_dimension_is_left_the_indices_are_told(sizes):
    found = told(sizes, squeezed=True, flat=True)
    assert all("squeeze" not in fix.line for fix in found.fixes)
    assert f"index {sizes[1] + 99} is out of range" in found.message
