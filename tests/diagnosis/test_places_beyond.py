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


class Picked(nn.Module):
    """What a layer gives, at places."""

    def __init__(self, index):
        super().__init__()
        self.lin, self.index = nn.Linear(9, 9), index

    def forward(self, x):
        return self.lin(x)[self.index].mean()


def lines(shape, *index):
    model, x = Picked(index), torch.randn(shape)
    return failure_of(model, lambda: model(x))


@pytest.mark.parametrize(
    "shape, index",
    [
        # the indices of one sample: its batch is of two
        ((2, 6, 9), (torch.arange(6), torch.arange(6))),
        # fewer dimensions would be left than are asked for
        ((1, 9), (torch.arange(4), torch.arange(4))),
        # too large for what is left as well
        ((4, 1, 6, 9), (torch.arange(4), torch.arange(20), torch.arange(4))),
    ],
)
def test_a_dimension_that_is_no_rest_of_a_sum_stays(shape, index):
    assert all("squeeze" not in fix.line for fix in lines(shape, *index).fixes)


def test_behind_all_others_an_index_is_found_too():
    many, few = torch.full((3,), 30), torch.arange(3)
    found = lines((2, 3, 4, 9), Ellipsis, many, few)
    assert "index 30 is out of range; 4 (dim 2) exist" in found.message
    found = lines((2, 3, 4, 9), Ellipsis, few, many)
    assert "index 30 is out of range; 9 (dim 3) exist" in found.message
