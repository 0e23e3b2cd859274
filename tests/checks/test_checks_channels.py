"""Convolutions over images of tokens: which dimension they take for channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

#: height, width, features of each place
SIZES = [(6, 10, 8), (8, 8, 8)]


def run(look, size, kernel=3, indices=()):
    """Maps of indices (4, [parts,] height, width) that are looked up."""
    height, width, features = size
    maps = torch.randint(0, 9, (4, *indices, height, width))
    x = look(nn.Embedding(9, features)(maps))
    kernel = kernel if isinstance(kernel, int) else kernel(x)
    out = nn.Conv2d(x.shape[1], 5, kernel)(x).mean((2, 3))
    F.cross_entropy(out, torch.arange(4)).backward()


# mistakes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("look", "who"),
    [
        (lambda x: x.transpose(1, 2), "transpose"),
        (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 2, 1), "permute"),
        (lambda x: x.movedim(2, 1).relu(), "movedim"),
        (lambda x: (x + 1).flatten(1, 2).unflatten(1, x.shape[1:3]), "unflatten"),
        (lambda x: x, "Conv2d"),
    ],
)
def test_places_are_taken_for_channels(look, who, size):
    assert findings(run, look, size) == [("view-as-permute", who)]


def mixed(order):
    def look(x):
        batch, parts, height, width, features = x.shape
        x = x.permute(*order)
        return x.reshape(batch, parts * features, height, width)

    return look


@pytest.mark.parametrize("parts", [1, 3])
def test_a_permute_that_leaves_the_features_behind_and_a_view(parts):
    assert silent(run, mixed((0, 1, 4, 2, 3)), (8, 8, 8), 3, (parts,))
    if parts == 1:
        found = findings(run, mixed((0, 1, 3, 2, 4)), (8, 8, 8), 3, (parts,))
        assert found == [("view-as-permute", "reshape")]


# what looks alike and is right


def pairs(x):
    """All pairs of features of two places: maps of features by features."""
    x = x[:, :, 0]
    return x[:, :3, :, None] * x[:, 3:6, None, :]


def rows_of_text(x):
    return x[:, 0][:, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("look", "kernel"),
    [
        (lambda x: x.permute(0, 3, 1, 2), 3),
        (lambda x: x.movedim(-1, 1), 3),
        (lambda x: x.permute(0, 3, 2, 1), 3),
        (lambda x: x.flatten(1, 2).mT.unflatten(2, x.shape[1:3]), 3),
        (lambda x: x, 1),  # each feature of the rows for itself
        (lambda x: x, lambda x: (1, x.shape[3])),  # all features of a place
        (lambda x: x.transpose(1, 2), lambda x: (3, x.shape[3])),
        (lambda x: x, lambda x: (3, 1)),
        (rows_of_text, lambda x: (3, x.shape[3])),
        (rows_of_text, 3),
        (pairs, 3),
    ],
)
def test_features_are_channels_or_are_not_slid_over(look, kernel, size):
    assert silent(run, look, size, kernel)


def test_one_sequence_is_one_channel():
    assert silent(run, lambda x: x, (1, 10, 8))


def text(x):
    return nn.Conv1d(x.shape[2], 5, 3)(x.transpose(1, 2)).mean(2)


def steps(x):
    """As many filters as steps, over the features of each, by choice."""
    return nn.Conv1d(x.shape[1], 5, 3)(x).mean(2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("convolve", [text, steps])
def test_convolutions_over_sequences(convolve, size):
    def program():
        ids = torch.randint(0, 9, (4, size[0]))
        out = convolve(nn.Embedding(9, size[2])(ids))
        F.cross_entropy(out, torch.arange(4)).backward()

    assert silent(program)


@pytest.mark.parametrize("size", SIZES)
def test_what_a_linear_layer_makes_of_one_side_of_an_image(size):
    height, width, features = size

    def program():
        x = nn.Linear(width, features)(torch.rand(4, 3, height, width))
        out = nn.Conv2d(3, 5, 3)(x).mean((2, 3))
        out = out + nn.Embedding(9, 5)(torch.arange(4))
        F.cross_entropy(out, torch.arange(4)).backward()

    assert silent(program)
