"""Rounded values in a loss, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8), (5, 5)]


class Parts:
    def __init__(self, batch, width):
        self.model = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.head = nn.Linear(width, width)
        self.x, self.y = torch.randn(batch, width), torch.rand(batch, width).round()


def rounded_probabilities(parts):
    p = torch.round(torch.sigmoid(parts.model(parts.x)))
    F.binary_cross_entropy(p, parts.y).backward()


def signs_by_hand(parts):
    signs = parts.model(parts.x).sign()
    ((signs - parts.y) ** 2).mean().backward()


def floors(parts):
    F.l1_loss((parts.model(parts.x) * 10).floor(), parts.y).backward()


def between_two_layers(parts):
    F.mse_loss(parts.head(parts.model(parts.x).sign()), parts.y).backward()


def beside_a_penalty_of_the_head(parts):
    h = torch.ceil(parts.model(parts.x) * 3)
    loss = F.mse_loss(parts.head(h), parts.y)
    (loss + parts.head.weight.square().sum()).backward()


MISTAKES = {
    rounded_probabilities: "round",
    signs_by_hand: "sign",
    floors: "floor",
    between_two_layers: "sign",
    beside_a_penalty_of_the_head: "ceil",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MISTAKES)
def test_a_loss_of_rounded_values_is_told(program, sizes):
    assert findings(program, Parts(*sizes)) == [("zero-gradient", MISTAKES[program])]


def straight_through(parts):
    h = parts.model(parts.x)
    F.mse_loss(h + (h.round() - h).detach(), parts.y).backward()


def rounded_for_the_accuracy(parts):
    p = torch.sigmoid(parts.model(parts.x))
    F.binary_cross_entropy(p, parts.y).backward()
    (p.round() == parts.y).float().mean().item()


def weighed_by_rounded_values(parts):
    h = parts.model(parts.x)
    (h.abs().round() * F.mse_loss(h, parts.y, reduction="none")).mean().backward()


def one_feature_of_two(parts):
    h = parts.model(parts.x)
    F.mse_loss(torch.stack([h, h.round()]), torch.stack([parts.y] * 2)).backward()


def a_remainder(parts):
    h = parts.model(parts.x) * 10
    F.mse_loss(h - h.floor(), parts.y).backward()


def detached_on_purpose(parts):
    h = parts.model(parts.x)
    F.mse_loss(h, h.detach().round()).backward()


def a_rounded_target(parts):
    F.mse_loss(parts.model(parts.x), (parts.y * 3).round()).backward()


def positions(parts):
    h = parts.model(parts.x)
    left = h.abs().floor().clamp(max=2).long()
    F.mse_loss(h.gather(1, left), parts.y).backward()


def interpolated(parts):
    h = parts.model(parts.x).abs()
    share = h - h.floor()
    values = torch.arange(8.0)
    at = h.floor().long().clamp(max=6)
    F.mse_loss((1 - share) * values[at] + share * values[at + 1], parts.y).backward()


def of_an_evaluation(parts):
    with torch.no_grad():
        F.mse_loss(parts.model(parts.x).round(), parts.y)


def a_rounded_input(parts):
    F.mse_loss(parts.model(parts.x.round()), parts.y).backward()


class Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def a_gradient_of_its_own(parts):
    F.mse_loss(Signs.apply(parts.model(parts.x)), parts.y).backward()


def another_loss_of_the_layers(parts):
    h = parts.model(parts.x)
    (F.mse_loss(parts.head(h.round()), parts.y) + F.mse_loss(h, parts.y)).backward()


def a_loss_of_its_own_before(parts):
    F.mse_loss(parts.model(parts.x), parts.y).backward()
    F.mse_loss(parts.head(parts.model(parts.x).round()), parts.y).backward()


MEANT = [
    another_loss_of_the_layers,
    a_loss_of_its_own_before,
    straight_through,
    rounded_for_the_accuracy,
    weighed_by_rounded_values,
    one_feature_of_two,
    a_remainder,
    detached_on_purpose,
    a_rounded_target,
    positions,
    interpolated,
    of_an_evaluation,
    a_rounded_input,
    a_gradient_of_its_own,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MEANT)
def test_what_only_looks_like_it_is_not(program, sizes):
    assert silent(program, Parts(*sizes))
