"""Scores of copies of one sample, whose batch the code has made."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 7), (4, 4)]


def scores(batch, width):
    """Those of several samples of one distribution, which is learned."""
    logits = torch.zeros(6, requires_grad=True)
    soft = F.gumbel_softmax(logits.unsqueeze(0).repeat(batch, 1), hard=False)
    return nn.Linear(6, width)(soft)


def best(made):
    return made.argmax(1, keepdim=True)


def margin_of_a_column(made):
    other = made.gather(1, best(made))
    return (made[:, 1] - other).clamp(min=0).mean()


def margin_of_the_largest(made):
    return (made.amax(1, keepdim=True) - made[:, 1]).mean()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("margin", [margin_of_a_column, margin_of_the_largest])
def test_a_column_of_copies_meets_a_row_of_them(margin, sizes):
    found = findings(lambda: margin(scores(*sizes)).backward())
    assert [code for code, _ in found] == ["silent-broadcast"]


def squeezed(made):
    return (made[:, 1] - made.gather(1, best(made)).squeeze(1)).clamp(min=0).mean()


def both_columns(made):
    return (made[:, 1:2] - made.gather(1, best(made))).clamp(min=0).mean()


def against_all(made):
    return (made - made.gather(1, best(made))).clamp(max=0).mean()


def centred(made):
    return (made - made.mean(1, keepdim=True)).square().mean()


def pairs_of_copies(made):
    first = made[:, 0]
    return (first[:, None] - first).abs().mean()


def pairs_of_two(made):
    return (made[:, 0].unsqueeze(1) - made[:, 1]).abs().mean()


def pairs_put_on_a_line_of_their_own(made):
    column = made[:, 0].unsqueeze(1)
    return (column - made[:, 1]).abs().mean()


def pairs_by_a_slice(made):
    column = made[:, :1]
    return (column - made[:, 1]).abs().mean()


def kernel(made):
    norms = made.square().sum(1)
    return (norms[:, None] + norms - 2 * made @ made.T).clamp(min=0).sqrt().mean()


def distances(made):
    sides = made.square().sum(1, keepdim=True)
    return (sides + made.square().sum(1) - 2 * made @ made.T).mean()


def over_the_copies(made):
    return (made - made.mean(0)).square().mean()


def one_for_each_place(made):
    weights = torch.softmax(made.detach().amax(1, keepdim=True), 0)
    return (weights * made).sum()


RIGHT = [
    squeezed,
    both_columns,
    against_all,
    centred,
    pairs_of_copies,
    pairs_of_two,
    pairs_put_on_a_line_of_their_own,
    pairs_by_a_slice,
    kernel,
    distances,
    over_the_copies,
    one_for_each_place,
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", RIGHT)
def test_scores_of_copies_that_are_compared_as_meant(program, sizes):
    assert silent(lambda: program(scores(*sizes)).backward())
