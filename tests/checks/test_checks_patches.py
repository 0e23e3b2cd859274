"""Pieces of an image that are put back: one behind the other, or side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")
#: side of the image and of a piece: as many pieces as pixels in each, and not
SIZES = [(16, 4), (12, 3), (8, 4), (16, 2)]


class Patches(nn.Module):
    """A layer on each of the pieces, which `back` makes an image of again."""

    def __init__(self, piece, channels, back, conv=False):
        super().__init__()
        self.piece, self.channels, self.back = piece, channels, back
        self.embed = nn.Linear(piece * piece, 10)
        self.conv = nn.Conv2d(1, 10, piece, piece) if conv else None
        self.head = nn.Linear(10, piece * piece * channels)

    def forward(self, x):
        b, _, side, _ = x.shape
        p, g = self.piece, side // self.piece
        if self.conv is not None:
            x = self.conv(x).flatten(2).transpose(1, 2)
        else:
            x = x.reshape(b, g, p, g, p).permute(0, 1, 3, 2, 4)
            x = self.embed(x.reshape(b, g * g, p * p))
        return self.back(self.head(x.relu()), b, g, p, self.channels)


def plain(x, b, g, p, c):
    x = x.view(b, g * g, p * p, c)
    return x.reshape(b, g * p, g * p, c).permute(0, 3, 1, 2)


def channels_first(x, b, g, p, c):
    x = x.view(b, g * g, c, p * p).transpose(1, 2)
    return x.reshape(b, c, g * p, g * p)


def one_channel(x, b, g, p, c):
    return x.reshape(b, 1, g * p, g * p)


def right(x, b, g, p, c):
    x = x.reshape(b, g, g, p, p, c).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(b, c, g * p, g * p)


def folded(x, b, g, p, c):
    x = x.view(b, g * g, p * p, c).permute(0, 3, 2, 1).flatten(1, 2)
    return F.fold(x, g * p, p, stride=p)


def shuffled(x, b, g, p, c):
    x = x.view(b, g, g, p * p, c).permute(0, 4, 3, 1, 2).reshape(b, -1, g, g)
    return F.pixel_shuffle(x, p)


def alarms(model, step):
    with shapetrace.trace(model) as t:
        step()
    return [
        (one.code, one.culprits[0].name) for one in t.findings if one.severity != "note"
    ]


def segment(model, side, classes):
    x, y = torch.rand(3, 1, side, side), torch.randint(0, classes, (3, side, side))
    return lambda: F.cross_entropy(model(x), y).backward()


def restore(model, side):
    x = torch.rand(3, 1, side, side)
    return lambda: F.mse_loss(model(x), x).backward()


@pytest.mark.parametrize("conv", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("back", [plain, channels_first])
def test_a_plain_reshape_of_classes_for_each_pixel(back, size, conv):
    model = Patches(size[1], 5, back, conv)
    assert alarms(model, segment(model, size[0], 5)) == [("view-as-permute", "reshape")]


@pytest.mark.parametrize("size", SIZES)
def test_a_plain_reshape_of_the_image_itself(size):
    model = Patches(size[1], 1, one_channel)
    assert alarms(model, restore(model, size[0])) == [("view-as-permute", "reshape")]


@pytest.mark.parametrize("conv", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("back", [right, folded, shuffled])
def test_pieces_side_by_side(back, size, conv):
    model = Patches(size[1], 5, back, conv)
    assert alarms(model, segment(model, size[0], 5)) == []
    model = Patches(size[1], 1, back, conv)
    assert alarms(model, restore(model, size[0])) == []


@pytest.mark.parametrize("size", SIZES)
def test_pieces_that_are_compared_with_pieces(size):
    def as_they_are(x, b, g, p, c):
        return x.reshape(b, 1, g * g, p * p)

    side, piece = size
    model, grid = Patches(piece, 1, as_they_are), side // piece
    x = torch.rand(3, 1, side, side)

    def step():
        wanted = x.reshape(3, grid, piece, grid, piece).transpose(2, 3)
        F.mse_loss(model(x), wanted.reshape(3, 1, grid**2, piece**2)).backward()

    assert alarms(model, step) == []


def test_pieces_that_were_cut_before_the_block():
    def as_they_are(x, b, g, p, c):
        return x.reshape(b, g * g, p * p)

    model, x, cut = Patches(4, 1, as_they_are), torch.rand(3, 1, 16, 16), None
    cut = torch.rand(3, 16, 16)
    assert alarms(model, lambda: F.mse_loss(model(x), cut).backward()) == []


def test_an_image_that_a_layer_writes():
    model = nn.Sequential(nn.Linear(6, 256), nn.Unflatten(1, (1, 16, 16)))
    x, y = torch.rand(3, 6), torch.rand(3, 1, 16, 16)
    assert alarms(model, lambda: F.mse_loss(model(x), y).backward()) == []


def test_the_fix_is_tried():
    model = Patches(4, 5, plain)
    with shapetrace.trace(model) as t:
        segment(model, 16, 5)()
    assert t.findings[0].fixes[0].status == "verified"
