"""What a backward runs again is held, whichever functions make it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import shapetrace
import shapetrace.torch_internals as torch_internals


class Block(nn.Module):
    """Its functions save 2 x 4, 2 x 4 and 2 x 6 numbers, of which no module tells."""

    def forward(self, x):
        return F.pad(x.sigmoid().exp(), (1, 1)).tanh()


def most(model, x, **options):
    with shapetrace.trace(model, memory=True, checks=False) as t:
        checkpoint(model, x, **options).sum().backward()
    return max(one.activations for one in t.recording.live), t


@pytest.mark.parametrize(("reentrant", "to_the_end"), [(True, 1), (False, 0)])
def test_what_functions_save_again_is_held(reentrant, to_the_end):
    """And what is padded, until the last function is through, which the other kind
    does not wait for."""
    x = torch.randn(2, 4, requires_grad=True)
    found, _ = most(Block(), x, use_reentrant=reentrant)
    saved = 2 * 4 + 2 * 4 + 2 * 6
    assert found == (saved + 2 * 6 * to_the_end + 1) * 4  # and the loss


def test_what_a_function_in_python_saves_again_is_held():
    """Of 6 samples in 5 channels it saves what it normalises, twice 5 numbers of that,
    and what it activates; what is normalised is there until it is activated, and the
    loss."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(5, 2, 1))

        def forward(self, x):
            y = F.conv1d(x, self.weight)
            return F.relu(F.batch_norm(y, None, None, training=True)).square()

    found, _ = most(Normed(), torch.randn(6, 2, 1), use_reentrant=False)
    assert found == 4 * (6 * 5 + 2 * 5 + 6 * 5 + 6 * 5 + 1)


def test_no_mode_stays_and_a_mode_of_the_users_is_left_as_it_was():
    seen = []

    class Seeing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(torch_internals.count_modes())
            return func(*args, **(kwargs or {}))

    class Inside(Block):
        def forward(self, x):
            with Seeing():
                return super().forward(x)

    x = torch.randn(2, 4, requires_grad=True)
    most(Inside(), x, use_reentrant=False)
    assert seen and torch_internals.count_modes() == 0
    after = len(seen)
    Block()(x).sum().backward()
    assert len(seen) == after


def test_a_block_that_raises_when_it_runs_again_leaves_no_mode():
    class Once(Block):
        runs = 0

        def forward(self, x):
            self.runs += 1
            if self.runs > 1:
                raise KeyboardInterrupt
            return super().forward(x)

    x = torch.randn(2, 4, requires_grad=True)
    with shapetrace.trace(once := Once(), memory=True, checks=False):
        with pytest.raises(KeyboardInterrupt):
            checkpoint(once, x, use_reentrant=False).sum().backward()
        modes = torch_internals.count_modes()
        found = checkpoint(Block(), x, use_reentrant=False)
        found.sum().backward()
        assert torch_internals.count_modes() == modes
    assert torch_internals.count_modes() == 0
