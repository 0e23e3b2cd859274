"""Who waited for whom, of recordings made by hand."""

from __future__ import annotations

import pytest
import torch

from shapetrace.comparison.rank_waits import waited
from shapetrace.distributed import Rank, Ranks
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Recording,
    TensorRef,
)

DDP = "torch.nn.parallel.distributed.DistributedDataParallel"
MS = 1_000_000
LOSS = (TensorRef("self", 1, (), torch.float32, torch.device("cpu")),)


def rank(around, layer, backward, outside, kind=DDP):
    """Milliseconds in DDP's own code, the layer, the backward, and none of them."""
    whole = around + layer
    calls = (
        ModuleCall(0, None, 0, "", "Top", (), (), duration_ns=whole * MS,
                   self_ns=around * MS),
        ModuleCall(1, 0, 1, "module", "Linear", (), (), duration_ns=layer * MS,
                   self_ns=layer * MS),
    )  # fmt: skip
    back = FunctionCall(
        0, None, "backward", "torch.Tensor.backward", LOSS, (),
        duration_ns=backward * MS,
    )  # fmt: skip
    infos = {
        "": ModuleInfo("", "Top", kind),
        "module": ModuleInfo("module", "Linear", "torch.nn.modules.linear.Linear"),
    }
    duration = (whole + backward + outside) * MS
    return Recording(calls, (back,), infos, {}, duration_ns=duration)


def test_who_is_least_in_the_exchange_is_who_the_others_waited_for():
    early, late = rank(100, 20, 300, 10), rank(1, 20, 30, 380)
    found = waited({0: early, 1: late, 2: early})
    assert (found.ranks, found.behind) == ((0, 2), 1)
    assert found.wait_ns == (400 - 31) * MS
    assert (found.place, found.more_ns) == ("", 370 * MS)
    assert str(found) == (
        "ranks 0 and 2 waited for rank 1, up to 369.00 ms, in backward and in the code"
        " that exchanges data; rank 1 spent 370.00 ms more outside of modules"
    )
    shown = str(Ranks((Rank(0, early), Rank(1, late), Rank(2, early))))
    assert "ranks 0 and 2 waited for rank 1" in shown


def test_the_module_that_was_slow_is_named():
    found = waited({0: rank(1, 20, 300, 10), 1: rank(1, 300, 20, 10)})
    assert (found.ranks, found.behind) == ((0,), 1)
    assert (found.place, found.more_ns) == ("module", 280 * MS)
    assert "rank 1 spent 280.00 ms more in `module`" in str(found)


@pytest.mark.parametrize(
    "ranks",
    [
        [rank(5, 20, 30, 10), rank(1, 20, 30, 10)],  # 4 ms are noise
        # without anything that exchanges data a long backward is its own
        [rank(1, 20, 300, 10, "Net"), rank(1, 300, 20, 10, "Net")],
        # the first is longer in its backward, and the other nowhere: so it is its own
        [rank(1, 20, 300, 10), rank(1, 20, 30, 10)],
        [rank(1, 20, 300, 10)],
    ],
)
def test_nobody_is_said_to_wait_where_that_is_not_known(ranks):
    assert waited(dict(enumerate(ranks))) is None
