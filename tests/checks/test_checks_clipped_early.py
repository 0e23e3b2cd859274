"""Gradients that are clipped before any backward has made them, and what is meant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_

from tests.checks.test_checks_kinds import findings, silent

OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, 0.1),
    lambda p: torch.optim.Adam(p, 0.1),
    lambda p: torch.optim.AdamW(p, 0.1, foreach=True),
]


class Loop:
    def __init__(self, made):
        self.net, self.other = nn.Linear(8, 4), nn.Linear(8, 4)
        self.optimizer = made([*self.net.parameters(), *self.other.parameters()])

    def loss(self, net=None):
        x, y = torch.randn(6, 8), torch.randn(6, 4)
        return F.mse_loss((net or self.net)(x), y)


def before_the_backward(loop):
    for _ in range(2):
        loop.optimizer.zero_grad()
        loss = loop.loss()
        clip_grad_norm_(loop.net.parameters(), 1.0)
        loss.backward()
        loop.optimizer.step()


def right_after_zero_grad(loop):
    for _ in range(2):
        loop.optimizer.zero_grad()
        nn.utils.clip_grad_norm_(loop.net.parameters(), 1.0)
        loop.loss().backward()
        loop.optimizer.step()


@pytest.mark.parametrize("made", OPTIMIZERS)
@pytest.mark.parametrize("program", [before_the_backward, right_after_zero_grad])
def test_no_gradients_are_clipped(program, made):
    assert findings(program, Loop(made)) == [("clipped-after-step", "clip_grad_norm_")]


def between(loop):
    for _ in range(2):
        loop.optimizer.zero_grad()
        loop.loss().backward()
        clip_grad_norm_(loop.net.parameters(), 1.0)
        loop.optimizer.step()


def one_of_two_networks(loop):
    for at in range(2):
        loop.optimizer.zero_grad()
        loop.loss(loop.other if at else loop.net).backward()
        clip_grad_norm_(loop.net.parameters(), 1.0)
        clip_grad_norm_(loop.other.parameters(), 1.0)
        loop.optimizer.step()


def twice(loop):
    for _ in range(2):
        loop.optimizer.zero_grad()
        clip_grad_norm_(loop.net.parameters(), 1.0)
        loop.loss().backward()
        clip_grad_norm_(loop.net.parameters(), 1.0)
        loop.optimizer.step()


def of_no_optimizer(loop):
    clip_grad_norm_(loop.net.parameters(), 1.0)
    loop.loss().backward()


def looked_at_before_the_first(loop):
    print(clip_grad_norm_(loop.net.parameters(), float("inf")))
    between(loop)


@pytest.mark.parametrize("made", OPTIMIZERS)
@pytest.mark.parametrize(
    "program",
    [
        between,
        one_of_two_networks,
        twice,
        of_no_optimizer,
        looked_at_before_the_first,
    ],
)
def test_what_is_meant(program, made):
    assert silent(program, Loop(made))
