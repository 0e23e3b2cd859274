"""Gates of the best expert alone, and columns that meet rows inside of a module whose
mean is all that is taken."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import shapetrace


class Router(nn.Module):
    """A mixture of experts: the gates of the best, or the best of the gates."""

    def __init__(self, width, experts, best, first):
        super().__init__()
        self.gate = nn.Linear(width, experts)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(experts))
        self.best, self.first = best, first

    def forward(self, x):
        scores = self.gate(x)
        if self.first:
            kept, chosen = scores.softmax(1).topk(self.best, dim=1)
        else:
            kept, chosen = scores.topk(self.best, dim=1)
            kept = kept.softmax(1)
        gates = torch.zeros_like(scores).scatter(1, chosen, kept)
        made = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (gates.unsqueeze(2) * made).sum(1)


def said(model, *inputs):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with shapetrace.trace(model) as t:
            model(*inputs).pow(2).mean().backward()
    return [(found.code, found.culprits[0].name) for found in t.findings]


@pytest.mark.parametrize("experts", [4, 6])
def test_a_softmax_over_the_best_expert_alone_is_always_one(experts):
    found = said(Router(8, experts, 1, False), torch.randn(6, 8))
    assert ("softmax-over-one", "softmax") in found


@pytest.mark.parametrize("best, first", [(1, True), (2, True), (2, False), (3, False)])
def test_of_several_experts_and_of_all_gates_a_softmax_is_one_of_choices(best, first):
    found = said(Router(8, 4, best, first), torch.randn(6, 8))
    assert "softmax-over-one" not in [code for code, _ in found]


class Pooling(nn.Module):
    """Norms of clusters by the sizes of the graphs, one number for the batch."""

    def __init__(self, shares):
        super().__init__()
        self.net, self.shares = nn.Linear(3, 4), shares

    def forward(self, x, mask):
        mask = mask.view(*mask.shape, 1).to(x.dtype)
        clusters = (self.net(x).softmax(-1) * mask).sum(1)
        return self.shares(clusters.norm(dim=1), mask)


def by_a_column(norms, mask):
    return (norms / mask.sum(dim=1) * 2.0 - 1).mean()


def by_a_row(norms, mask):
    return (norms / mask.sum(dim=(1, 2)) * 2.0 - 1).mean()


def by_all_sizes(norms, mask):
    return (norms / mask.sum(dim=1)[:, :1]).amax(1).mean()


def of_all_pairs(norms, mask):
    return (norms[:, None] / norms).mean()


def pooled(shares, batch):
    mask = torch.arange(7) < torch.arange(2, 2 + batch)[:, None]
    return said(Pooling(shares), torch.randn(batch, 7, 3), mask)


@pytest.mark.parametrize("batch", [3, 5])
def test_a_column_of_sizes_meets_a_row_of_norms_in_a_module(batch):
    assert ("silent-broadcast", "view") in pooled(by_a_column, batch)


@pytest.mark.parametrize("batch", [3, 5])
@pytest.mark.parametrize("shares", [by_a_row, by_all_sizes, of_all_pairs])
def test_rows_and_pairs_that_are_meant_are_let_be(shares, batch):
    assert pooled(shares, batch) == []
