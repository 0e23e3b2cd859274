"""Losses of a codebook that are given what was passed straight through."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 6, 7), (8, 8, 8)]


class Codes:
    def __init__(self, count, width, codes):
        self.x = nn.Linear(width, width)(torch.randn(count, width))
        book = nn.Embedding(codes, width)
        self.e = book(torch.cdist(self.x, book.weight).argmin(1))
        self.y = self.x + (self.e - self.x).detach()

    def learn(self, loss):
        (F.mse_loss(self.y, torch.randn_like(self.y)) + loss).backward()


MISTAKES = {
    "by hand": lambda c: ((c.x.detach() - c.y) ** 2).sum(-1).mean(),
    "turned": lambda c: (c.y - c.x.detach()).square().mean(),
    "loss": lambda c: F.mse_loss(c.y, c.x.detach()),
    "data": lambda c: F.mse_loss(c.y.view(-1), c.x.data.view(-1)),
    "stacked": lambda c: F.mse_loss(
        torch.stack([c.y, c.y]), torch.stack([c.x, c.x]).detach()
    ),
}
CORRECT = {
    "looked up": lambda c: F.mse_loss(c.e, c.x.detach()),
    "commitment": lambda c: F.mse_loss(c.x, c.e.detach()),
    "commitment to it": lambda c: F.mse_loss(c.x, c.y.detach()),
    "both by hand": lambda c: (c.e - c.x.detach()).square().mean()
    + (c.e.detach() - c.x).square().mean(),
    "next value": lambda c: F.mse_loss(
        c.x[:-1] + (c.e[1:] - c.e[:-1]).detach(), c.x[1:].detach()
    ),
    "a layer between": lambda c: F.mse_loss(
        nn.Linear(c.x.shape[1], c.x.shape[1])(c.y), c.x.detach()
    ),
    "data": lambda c: F.mse_loss(c.y, torch.randn_like(c.x)),
    "entropy": lambda c: c.y.softmax(-1).log().mean() - c.x.detach().mean(),
    "another": lambda c: F.mse_loss(c.y, c.e.detach()),
    "moved by another": lambda c: F.mse_loss(
        c.x + (c.e - c.e.mean(0)).detach(), c.x.detach()
    ),
    "all of it": lambda c: F.mse_loss(c.y, c.x),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", MISTAKES)
def test_the_codebook_learns_nothing_from_its_term(name, sizes):
    def program():
        codes = Codes(*sizes)
        codes.learn(MISTAKES[name](codes))

    assert [code for code, _ in findings(program)] == ["term-cut-off"]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", CORRECT)
def test_terms_as_they_are_meant(name, sizes):
    def program():
        codes = Codes(*sizes)
        codes.learn(CORRECT[name](codes))

    assert silent(program)


def test_a_figure_that_is_looked_at_alone():
    def program():
        codes = Codes(5, 6, 7)
        F.mse_loss(codes.y.detach(), codes.x.detach())
        codes.learn(F.mse_loss(codes.e, codes.x.detach()))

    assert silent(program)
