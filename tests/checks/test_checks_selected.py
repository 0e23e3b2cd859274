"""Entries that a mask selects: of each one, or by accident of all by all."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8, 5), (5, 5, 5)]


def run(select, sizes):
    batch, width, classes = sizes
    model = nn.Linear(width, classes)
    labels = torch.randint(0, classes, (batch,))
    mask = torch.arange(batch) % 3 > 0
    select(model(torch.randn(batch, width)), labels, mask).mean().backward()


def a_column(scores, labels, mask):
    gathered = scores.log_softmax(1).gather(1, labels.view(-1, 1))
    return -gathered.masked_select(mask)


def by_a_column(scores, labels, mask):
    return F.cross_entropy(scores, labels, reduction="none").masked_select(
        mask.unsqueeze(1)
    )


def by_the_function(scores, labels, mask):
    return torch.masked_select(scores.logsumexp(1, keepdim=True), mask)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("select", [a_column, by_a_column, by_the_function])
def test_a_column_that_a_row_selects_from(select, sizes):
    ((code, _),) = findings(run, select, sizes)
    assert code == "silent-broadcast"


def test_what_mends_it():
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        run(a_column, (6, 8, 5))
    (found,) = t.findings
    assert "(6, 1) against (6,) to (6, 6)" in found.message
    assert {b.source for b in t.broadcasts} == {found.source}
    assert any(".squeeze(1)" in fix.line for fix in found.fixes)


def the_same_shape(scores, labels, mask):
    losses = F.cross_entropy(scores, labels, reduction="none")
    return losses.masked_select(mask)


def both_columns(scores, labels, mask):
    gathered = scores.log_softmax(1).gather(1, labels.view(-1, 1))
    return -gathered.masked_select(mask.view(-1, 1))


def rows(scores, labels, mask):
    return scores.masked_select(mask.unsqueeze(1))


def some_classes(scores, labels, mask):
    return scores.masked_select(torch.arange(scores.shape[1]) % 2 == 0)


def by_index(scores, labels, mask):
    return -scores.log_softmax(1).gather(1, labels.view(-1, 1))[mask]


def of_one_column(scores, labels, mask):
    return scores[:, :1].masked_select(mask.view(-1, 1))


def one_by_one(scores, labels, mask):
    return scores.mean().view(1, 1).masked_select(torch.tensor([True]))


MEANT = [
    the_same_shape,
    both_columns,
    rows,
    some_classes,
    by_index,
    of_one_column,
    one_by_one,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("select", MEANT)
def test_what_is_selected_once(select, sizes):
    assert silent(run, select, sizes)
