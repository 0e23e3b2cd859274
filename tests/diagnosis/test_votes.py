"""One wrong size in a model that is otherwise regular: the rest of it tells which."""

import pytest
import torch
from failures import failure
from torch import nn


def said(model, *inputs):
    """The likeliest culprit of a model's call that fails, and why."""
    culprit = failure(model, *inputs).culprits[0]
    return culprit.name if culprit.kind == "module" else culprit.kind, culprit.reason


def stack():
    blocks = (
        nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 24)) for _ in range(4)
    )
    return nn.Sequential(nn.Linear(10, 24), *blocks, nn.Linear(24, 3))


@pytest.mark.parametrize("name", ["1.0", "2.0", "4.2"])
def test_the_one_block_that_gives_another_width_is_named(name):
    model = stack()
    old = model.get_submodule(name)
    model[int(name[0])][int(name[2])] = nn.Linear(old.in_features, 36)
    assert said(model, torch.randn(5, 10))[0] == name


@pytest.mark.parametrize("name", ["1.0", "3.2"])
def test_the_one_block_that_takes_another_width_is_named(name):
    model = stack()
    old = model.get_submodule(name)
    model[int(name[0])][int(name[2])] = nn.Linear(36, old.out_features)
    assert said(model, torch.randn(5, 10))[0] == name


def double(taken, given):
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, padding=1),
        nn.BatchNorm2d(given),
        nn.ReLU(),
        nn.Conv2d(given, given, 3, padding=1),
        nn.BatchNorm2d(given),
    )


def test_stages_of_growing_width_are_no_like_of_each_other():
    model = nn.Sequential(double(3, 8), double(8, 16), double(16, 32))
    model[1][3] = nn.Conv2d(16, 8, 3, padding=1)
    name, reason = said(model, torch.randn(2, 3, 8, 8))
    assert name == "1.3"
    assert "its like" not in reason


def test_a_width_that_no_other_layer_has_is_the_odd_one():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 63), nn.ReLU())
    model.append(nn.Linear(64, 5))
    name, reason = said(model, torch.randn(4, 20))
    assert name == "2"
    assert "63 of no other layer" in reason


def test_what_a_normalisation_took_is_right_before_the_layer_behind_it():
    model = nn.Sequential(nn.Linear(20, 50), nn.BatchNorm1d(50), nn.Linear(40, 40))
    assert said(model, torch.randn(4, 20))[0] == "2"


class Norm(nn.LayerNorm):
    """A layer of the user's that calls torch's function by way of its base."""

    def forward(self, x):
        return super().forward(x.transpose(1, -1)).transpose(1, -1)


def test_a_normalisation_of_ones_own_class_is_named_and_not_its_function():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Norm(7), nn.Conv2d(8, 8, 1))
    assert said(model, torch.randn(2, 3, 4, 4))[0] == "1"


@pytest.mark.parametrize(
    "taken, first", [(9, "0"), (32, "0"), (3, "input"), (1, "input")]
)
def test_images_are_believed_where_a_layer_wants_no_number_of_colours(taken, first):
    channels = 1 if taken == 3 else 3
    model = nn.Sequential(nn.Conv2d(taken, 8, 3), nn.ReLU())
    assert said(model, torch.randn(2, channels, 8, 8))[0] == first


class Attention(nn.Module):
    def __init__(self, key=16):
        super().__init__()
        self.query, self.key = nn.Linear(16, 16), nn.Linear(16, key)

    def forward(self, x):
        split = (x.shape[0], x.shape[1], -1, 4)
        query, key = self.query(x).view(split), self.key(x).view(split)
        return x + (query * key).flatten(2)


def test_of_two_operands_the_one_unlike_its_like_is_named():
    model = nn.Sequential(Attention(), Attention(), Attention(24), Attention())
    name, reason = said(model, torch.randn(2, 5, 16))
    assert name == "2.key"
    assert "`0.key`" in reason
