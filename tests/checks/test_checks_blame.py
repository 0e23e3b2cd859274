"""Of two shapes that stretch each other, the one that the other terms do not have."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.now, self.next, self.spread = (nn.Linear(8, n) for n in (1, 1, 6))


def backup(critic, rewards, squeezed):
    """The loss by hand of a value and of what is made of rewards and the next value."""
    now, after = critic.now(torch.randn(20, 8)), critic.next(torch.randn(20, 8))
    if squeezed == "next":
        after = after.squeeze(-1)
    else:
        now = now.squeeze(-1)
    ((now - (rewards + 0.9 * after.detach())) ** 2).mean().backward()


def blamed(critic, program, *args):
    """The first culprit of the one finding."""
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(critic) as t:
            program(critic, *args)
    (found,) = t.findings
    assert found.code == "silent-broadcast"
    return found.culprits[0].name


def test_a_value_is_not_squeezed_where_the_rewards_are_vectors():
    assert blamed(Critic(), backup, torch.randn(20), "next") == "now"


def test_a_value_is_squeezed_where_the_rewards_are_columns():
    assert blamed(Critic(), backup, torch.randn(20, 1), "now") == "squeeze"


def entropic(critic, columns):
    """A target with a log-probability of every action in it."""
    target = 0.9 * critic.spread(torch.randn(20, 8)).detach()
    if columns:
        target = torch.randn(20, 1) + target
    F.mse_loss(critic.now(torch.randn(20, 8)), target).backward()


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_odd_term_of_a_target():
    assert blamed(Critic(), entropic, True) == "spread"
    assert blamed(Critic(), entropic, False) == "now"


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_layer_that_is_as_wide_as_the_batch_is_named_beside_the_target():
    """(16, 16) against (16,): one number for each sample, or one for each class."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16))
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            F.l1_loss(model(torch.randn(16, 8)), torch.randn(16))
    target, layer, _ = t.findings[0].culprits
    assert (target.kind, layer.kind, layer.name) == ("target", "module", "2")
    assert (layer.dim, layer.size) == (1, 16)
    assert "makes 16 for each of the 16" in layer.reason
