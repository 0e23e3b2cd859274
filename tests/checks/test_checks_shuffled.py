"""Samples and labels that were shuffled apart, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(12, 8), (5, 5)]


class Parts:
    def __init__(self, samples, width):
        self.model = nn.Linear(width, 5)
        self.x, self.y = torch.randn(samples, width), torch.randint(5, (samples,))
        self.count = samples

    def learn(self, x, y):
        F.cross_entropy(self.model(x), y).backward()


def two_permutations(parts):
    x, y = parts.x[torch.randperm(parts.count)], parts.y[torch.randperm(parts.count)]
    parts.learn(x, y)


def batches_of_two_permutations(parts):
    one, two = torch.randperm(parts.count), torch.randperm(parts.count)
    x, y = parts.x[one], parts.y[two]
    parts.learn(x[:4], y[:4])


def samples_alone(parts):
    order = torch.randperm(parts.count)
    parts.learn(parts.x[order[:4]], parts.y[:4])


def selected(parts):
    order = torch.randperm(parts.count)
    parts.learn(torch.index_select(parts.x, 0, order), parts.y)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    "program",
    [two_permutations, batches_of_two_permutations, samples_alone, selected],
)
def test_pairs_that_were_shuffled_apart_are_told(program, sizes):
    ((code, name),) = findings(program, Parts(*sizes))
    assert code == "pairs-apart"
    assert name in ("getitem", "index_select")


def one_permutation(parts):
    order = torch.randperm(parts.count)
    parts.learn(parts.x[order], parts.y[order])


def batches_of_one_permutation(parts):
    order = torch.randperm(parts.count)
    for start in range(0, 4, 2):
        at = order[start : start + 2]
        parts.learn(parts.x[at], parts.y[at])


def each_epoch_anew(parts):
    for _ in range(2):
        one_permutation(parts)


def not_shuffled(parts):
    torch.randperm(parts.count)
    parts.learn(parts.x[:4], parts.y[:4])


def labels_alone(parts):
    parts.learn(parts.x, parts.y[torch.randperm(parts.count)])


def mixed_up(parts):
    order = torch.randperm(parts.count)
    scores = parts.model(0.3 * parts.x + 0.7 * parts.x[order])
    loss = 0.3 * F.cross_entropy(scores, parts.y)
    (loss + 0.7 * F.cross_entropy(scores, parts.y[order])).backward()


def negatives(parts):
    h = parts.model(parts.x)
    others = parts.model(parts.x[torch.randperm(parts.count)])
    away = -torch.ones(parts.count)
    F.cosine_embedding_loss(h, others, away).backward()


def which_order(parts):
    order = torch.randperm(parts.count)
    (parts.model(parts.x[order]).sum(1) * order).sum().backward()


def real_or_not(parts):
    order = torch.randperm(parts.count)
    scores = parts.model(parts.x[order])
    F.binary_cross_entropy_with_logits(scores, torch.ones(parts.count, 5)).backward()


def turned_back(parts):
    order = torch.randperm(parts.count)
    scores = parts.model(parts.x[order])
    F.cross_entropy(scores[order.argsort()], parts.y).backward()


def columns(parts):
    order = torch.randperm(parts.x.shape[1])
    parts.learn(parts.x[:, order], parts.y)


MEANT = [
    one_permutation,
    batches_of_one_permutation,
    each_epoch_anew,
    not_shuffled,
    labels_alone,
    mixed_up,
    negatives,
    which_order,
    real_or_not,
    turned_back,
    columns,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MEANT)
def test_what_only_looks_like_it_is_not(program, sizes):
    assert silent(program, Parts(*sizes))
