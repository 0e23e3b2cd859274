"""Several layers that are built with one number, or were told the same one."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

#: channels, and samples: all distinct, and as equal as they can be
SIZES = [(16, 5), (8, 8), (4, 4)]


class Up(nn.Module):
    """Half of the channels, twice the size."""

    def __init__(self, n):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(n, n * 2, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x):
        return self.body(x)


class Decoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.down = nn.Conv2d(3, dim * 4, 3, stride=4, padding=1)
        self.first = Up(int(dim * 2))
        self.second = Up(dim * 2)
        self.out = nn.Conv2d(dim, 3, 3, padding=1)

    def forward(self, x):
        return self.out(self.second(self.first(self.down(x))))


class Separable(nn.Module):
    def __init__(self, n, out):
        super().__init__()
        self.deep = nn.Conv2d(n, n, 3, padding=1, groups=n)
        self.norm = nn.BatchNorm2d(n)
        self.wide = nn.Conv2d(n, out, 1)

    def forward(self, x):
        return self.wide(self.norm(self.deep(x)))


class Mobile(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.stem = nn.Conv2d(3, n, 3)
        self.first = Separable(n, 2 * n)
        self.second = Separable(n, 4 * n)
        self.out = nn.Linear(4 * n, 5)

    def forward(self, x):
        return self.out(self.second(self.first(self.stem(x))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.q = nn.Linear(32, heads)
        self.k = nn.Linear(32, heads)
        self.v = nn.Linear(32, heads)
        self.out = nn.Linear(heads, width)

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        return self.out(F.scaled_dot_product_attention(q, k, v)) + x


@pytest.mark.parametrize("dim, batch", SIZES)
def test_a_block_is_built_for_what_it_is_given(dim, batch):
    model, x = Decoder(dim), torch.rand(batch, 3, 16, 16)
    found = failure_of(model, lambda: F.l1_loss(model(x), x))
    assert found.culprits[0].name == "first.body.0"
    assert found.fixes[0].line == "self.first = Up(2 * int(dim * 2))"
    assert found.fixes[0].status == "verified"


@pytest.mark.parametrize("n, batch", SIZES)
def test_what_one_argument_of_a_block_is_for(n, batch):
    model, x = Mobile(n), torch.rand(batch, 3, 16, 16)
    labels = torch.randint(0, 5, (batch,))
    found = failure_of(model, lambda: F.cross_entropy(model(x), labels))
    assert found.culprits[0].name == "second.deep"
    assert found.fixes[0].line == "self.second = Separable(2 * n, 4 * n)"
    assert found.fixes[0].status == "verified"
    assert "3 layers" in found.fixes[0].detail


@pytest.mark.parametrize("width, heads, batch", [(12, 7, 5), (8, 8, 8)])
def test_layers_beside_it_that_were_told_the_same(width, heads, batch):
    model, x = Attention(width, heads), torch.rand(batch, 6, width)
    found = failure_of(model, lambda: model(x).sum())
    lines = (f"self.{name} = nn.Linear({width}, heads)" for name in "qkv")
    assert found.fixes[0].line == "\n".join(lines)
    assert found.fixes[0].status == "verified"
    assert found.culprits[0].name == "q"
