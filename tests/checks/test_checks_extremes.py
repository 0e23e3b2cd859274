"""Entries that were filled to be left out, and are picked; and those that are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

INF = float("inf")
SIZES = [(6, 8), (8, 8)]


def embedded(batch, width):
    z = nn.Linear(5, width)(torch.randn(batch, 5))
    same = torch.eye(batch, dtype=torch.bool)
    return F.normalize(z, dim=1), same


def diagonal_of_similarities(z, same):
    sim = (z @ z.T).clone()
    sim.diagonal().fill_(-INF)
    return torch.max(1 - sim, dim=1)[0]


def filled_diagonal(z, same):
    sim = z @ z.T
    sim.fill_diagonal_(-1e9)
    return (2 - 2 * sim).amax(1)


def masked_similarities(z, same):
    return (z @ z.T).masked_fill(same, -1e9).neg().max(1).values


def assigned(z, same):
    far = torch.cdist(z, z).clone()
    far[same] = INF
    return far.max(dim=1).values


def nearest_of_low(z, same):
    far = torch.cdist(z, z).masked_fill(same, -INF)
    return far.min(1)[0]


def penalised(z, same):
    far = torch.cdist(z, z) + same.float() * 1e9
    return far.max(1)[0]


def by_where(z, same):
    sim = torch.where(same, float("-inf"), z @ z.T)
    return (1 - sim).topk(2, dim=1)[0]


def by_where_of_a_tensor(z, same):
    sim = z @ z.T
    sim = torch.where(same, torch.full_like(sim, -1e12), sim)
    return (-sim).logsumexp(1)


def attention_to_the_hidden(z, same):
    return (z @ z.T).masked_fill(same, 1e9).softmax(-1) @ z


def softmin_of_low(z, same):
    return F.softmin(torch.cdist(z, z).masked_fill(same, -1e9), dim=1) @ z


def index_after_a_turn(z, same):
    sim = (z @ z.T).masked_fill(same, -INF)
    return z - z[(1 - sim).argmax(1)]


def distance_by_its_square(z, same):
    sim = (z @ z.T).masked_fill(same, -1e9)
    return (2 - 2 * sim).sqrt().max(1)[0]


def added_mask(z, same):
    mask = torch.zeros(same.shape).masked_fill(same, -INF)
    return (1 - (z @ z.T + mask)).amax(1)


def by_where_of_a_number(z, same):
    sim = z @ z.T
    return (-torch.where(same, sim.new_tensor(-1e9), sim)).max(1)[0]


MISTAKES = [
    added_mask,
    by_where_of_a_number,
    diagonal_of_similarities,
    filled_diagonal,
    masked_similarities,
    assigned,
    nearest_of_low,
    penalised,
    by_where,
    by_where_of_a_tensor,
    attention_to_the_hidden,
    softmin_of_low,
    index_after_a_turn,
    distance_by_its_square,
]


def nearest_other(z, same):
    far = torch.cdist(z, z).clone()
    far.fill_diagonal_(INF)
    return far.min(1)[0]


def hardest_positive_and_negative(z, same):
    far, y = torch.cdist(z, z), torch.arange(len(z)) % 2
    like = y[:, None] == y
    hardest = far.masked_fill(~like, -INF).max(1)[0]
    return hardest - far.masked_fill(like, INF).min(1)[0] + 1


def turned_and_the_other_end(z, same):
    sim = (z @ z.T).masked_fill(same, -INF)
    return (1 - sim).min(1)[0]


def turned_before(z, same):
    return (1 - z @ z.T).masked_fill(same, -INF).max(1)[0]


def attention(z, same):
    return (z @ z.T).masked_fill(same, -1e9).softmax(-1) @ z


def attention_with_a_penalty(z, same):
    return (z @ z.T + (1 - (~same).float()) * -1e4).softmax(-1) @ z


def kept_on_purpose(z, same):
    """The first token is always among those that are kept."""
    scores = z.mean(1)
    scores[0] = INF
    return z[scores.topk(3)[1]]


def kernel(z, same):
    sim = (z @ z.T / 0.1).masked_fill(same, -INF)
    return -(sim.exp().sum(1)).log()


def refilled(z, same):
    sim = (z @ z.T).clone()
    sim.fill_diagonal_(-INF)
    top = sim.max(1)[0]
    sim.fill_diagonal_(INF)
    return top - sim.min(1)[0]


def the_larger_of_two(z, same):
    scores = (z @ z.T).masked_fill(same, -1e9)
    return torch.max(scores, torch.tensor(-1e6)).softmax(1) @ z


def low_and_high(z, same):
    scores = (z @ z.T).masked_fill(same, -1e9)
    return scores.masked_fill(same.roll(1, 0), 1e9).softmax(1) @ z


def soft_nearest(z, same):
    return (-torch.cdist(z, z).masked_fill(same, INF)).softmax(1) @ z


def weak_fill(z, same):
    return (1 - (z @ z.T).masked_fill(same, -2.0)).max(1)[0]


def all_of_it(z, same):
    best = torch.full((len(z),), INF)
    return torch.minimum(best, z[:, 0]) + z.max(1)[0]


def logged(z, same):
    far = torch.cdist(z, z).masked_fill(same, INF)
    assert far.max().item() == INF
    return far.min(1)[0]


def written_over(z, same):
    far = torch.cdist(z, z).clone()
    far.diagonal().fill_(INF)
    nearest = far.min(1)[0]
    far.diagonal().fill_(0)
    return nearest - far.max(1)[0]


CORRECT = [
    written_over,
    nearest_other,
    hardest_positive_and_negative,
    turned_and_the_other_end,
    turned_before,
    attention,
    attention_with_a_penalty,
    kept_on_purpose,
    kernel,
    refilled,
    the_larger_of_two,
    low_and_high,
    soft_nearest,
    weak_fill,
    all_of_it,
    logged,
]


def program(pick, batch, width):
    pick(*embedded(batch, width)).square().mean().backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("pick", MISTAKES, ids=lambda pick: pick.__name__)
def test_what_was_to_be_left_out_is_picked(pick, sizes):
    assert "masked-entry-picked" in [
        code for code, _ in findings(program, pick, *sizes)
    ]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("pick", CORRECT, ids=lambda pick: pick.__name__)
def test_what_was_filled_is_left_out(pick, sizes):
    assert silent(program, pick, *sizes)


def test_the_line_that_fills_is_mended():
    code, name = findings(program, filled_diagonal, 6, 8)[0]
    assert (code, name) == ("masked-entry-picked", "fill_diagonal")
