"""Gradient penalties of a part of a sample, or of a batch, and those of each sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 3, 8), (8, 8, 8), (3, 3, 4)]


def images(batch, channels, side):
    critic = nn.Sequential(
        nn.Conv2d(channels, 6, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(6 * (side // 2) ** 2, 1),
    )
    return critic, torch.rand(batch, channels, side, side, requires_grad=True)


def gradient(critic, x):
    score = critic(x)
    ones = torch.ones_like(score)
    return torch.autograd.grad(score, x, ones, create_graph=True)[0]


def of_the_sum(critic, x):
    return torch.autograd.grad(critic(x).sum(), [x], create_graph=True)[0]


def penalty(norm, make, sizes, of=gradient):
    critic, x = make(*sizes)
    ((norm(of(critic, x)) - 1) ** 2).mean().backward()


NORMS = {
    "over the channels": lambda g: g.norm(2, dim=1),
    "over the sides": lambda g: torch.norm(g, dim=(2, 3)),
    "of rows": lambda g: g.flatten(2).norm(dim=2),
    "by hand": lambda g: torch.sqrt((g**2).sum(dim=1) + 1e-12),
    "of linalg": lambda g: torch.linalg.vector_norm(g, dim=1),
    "of all": lambda g: g.norm(2),
    "of all in a row": lambda g: g.view(-1).norm(),
    "of all by hand": lambda g: g.square().sum().sqrt(),
    "from inside a view": lambda g: g.reshape(len(g), g.shape[1], -1).norm(2, 1),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", NORMS)
def test_a_norm_that_is_not_a_sample_s(name, sizes):
    assert findings(penalty, NORMS[name], images, sizes)[0][0] == "gradient-norm-dim"


def test_gradients_of_the_sum_of_the_scores():
    norm, sizes = NORMS["over the channels"], SIZES[0]
    found = findings(penalty, norm, images, sizes, of_the_sum)
    assert found == [("gradient-norm-dim", "norm")]


def test_a_penalty_above_one_alone():
    def program(dims):
        g = gradient(*images(*SIZES[0]))
        ((g.norm(2, dim=dims) - 1).relu() ** 2).mean().backward()

    assert findings(program, 1) == [("gradient-norm-dim", "norm")]
    assert silent(program, (1, 2, 3))


RIGHT = {
    "flattened": lambda g: g.view(len(g), -1).norm(2, dim=1),
    "over three dimensions": lambda g: g.norm(2, dim=(1, 2, 3)),
    "by hand": lambda g: (g.flatten(1).square().sum(1) + 1e-12).sqrt(),
    "one after the other": lambda g: g.square().sum(3).sum(2).sum(1).sqrt(),
    "of the norms": lambda g: g.norm(2, 1).flatten(1).norm(2, 1),
    "kept": lambda g: g.norm(2, dim=(1, 2, 3), keepdim=True),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", RIGHT)
def test_a_norm_of_each_sample(name, sizes):
    assert silent(penalty, RIGHT[name], images, sizes)


def points(batch, steps, width):
    field = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 1))
    return field, torch.randn(batch, steps, 3, requires_grad=True)


def test_a_distance_field_has_a_gradient_at_each_point():
    """The eikonal equation: a score for each point."""
    for of in (gradient, of_the_sum):
        assert silent(penalty, lambda g: g.norm(2, dim=-1), points, (3, 3, 3), of)
        assert silent(penalty, lambda g: g.norm(dim=-1), points, (4, 7, 3), of)


def test_patches_have_scores_of_their_own():
    def patches(batch, channels, side):
        x = torch.rand(batch, channels, side, side, requires_grad=True)
        return nn.Conv2d(channels, 1, 3, padding=1), x

    assert silent(penalty, NORMS["over the channels"], patches, SIZES[0])


def test_vectors_have_one_dimension():
    def vectors(batch, width, _):
        return nn.Linear(width, 1), torch.randn(batch, width, requires_grad=True)

    assert silent(penalty, lambda g: g.norm(2, dim=1), vectors, (6, 6, 0))


def test_a_batch_of_one_has_one_norm():
    assert silent(penalty, NORMS["of all"], images, (1, 3, 8))


def test_norms_that_are_held_against_no_number():
    def squared(norm):
        norm(gradient(*images(*SIZES[0]))).square().mean().backward()

    assert silent(squared, NORMS["over the channels"])


def test_the_norm_of_a_weight_s_gradient():
    def program():
        critic, x = images(*SIZES[0])
        (g,) = torch.autograd.grad(critic(x).sum(), critic[0].weight, create_graph=True)
        ((g.norm() - 1) ** 2).backward()

    assert silent(program)
