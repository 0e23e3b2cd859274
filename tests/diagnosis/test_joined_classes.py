"""Class indices that are joined with features, or given to a linear layer."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

#: samples, features and classes: all distinct, and all equal
SIZES = [(9, 10, 6), (6, 6, 6)]


class Conditional(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.encode = nn.Linear(features + classes, 8)
        self.decode = nn.Linear(8 + classes, features)

    def forward(self, x, y):
        h = torch.relu(self.encode(torch.cat([x, y], 1)))
        return self.decode(torch.cat([h, y], 1))


class Once(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.decode = nn.Linear(features + classes, features)

    def forward(self, x, y):
        return self.decode(torch.cat([x, y], 1))


class Labels(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.embed = nn.Linear(classes, features)

    def forward(self, x, y):
        return x + self.embed(y)


def failure(kind, sizes):
    batch, features, classes = sizes
    model, x = kind(features, classes), torch.rand(batch, features)
    y = torch.randint(0, classes, (batch,))
    return failure_of(model, lambda: F.mse_loss(model(x, y), x))


@pytest.mark.parametrize("sizes", SIZES)
def test_for_all_that_use_them(sizes):
    found = failure(Conditional, sizes)
    assert found.culprits[0].kind == "input"
    assert found.fixes[0].line.split("\n")[0] == f"y = F.one_hot(y, {sizes[2]}).float()"
    assert found.fixes[0].status == "verified"


@pytest.mark.parametrize("sizes", SIZES)
def test_for_one_call(sizes):
    found = failure(Once, sizes)
    rows = f"F.one_hot(y, {sizes[2]}).float()"
    assert found.fixes[0].line == f"return self.decode(torch.cat([x, {rows}], 1))"


def test_for_a_linear_layer():
    found = failure(Labels, SIZES[0])
    assert "F.one_hot(y, 6).float()" in found.fixes[0].line
