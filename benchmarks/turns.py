"""Subjects that take turns in one process, in processor time of its one thread.

Other work on the machine slows all of them alike: what is told are ratios within one
run, of the means of the fastest tenth of the turns.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from time import perf_counter, thread_time

import torch
from subjects import Watch, Whole
from torch import Tensor, nn

#: seconds of the forward, where known, and of all with entry and exit
Turn = Callable[[], tuple[float | None, float]]
UNTRACED = "untraced"


class Times:
    """Seconds of every turn: of the forward alone, and with entry and exit."""

    def __init__(self) -> None:
        self.forward: list[float] = []
        self.whole: list[float] = []


def watched(model: nn.Module, x: Tensor, watch: Watch) -> Turn:
    """The forward in an open context."""

    def turn() -> tuple[float | None, float]:
        start = thread_time()
        with watch(model):
            entered = thread_time()
            model(x)
            left = thread_time()
        return left - entered, thread_time() - start

    return turn


def called(model: nn.Module, x: Tensor, run: Whole) -> Turn:
    """What calls the forward itself."""

    def turn() -> tuple[float | None, float]:
        start = thread_time()
        run(model, x)
        return None, thread_time() - start

    return turn


def take_turns(
    model: nn.Module,
    x: Tensor,
    subjects: Mapping[str, Turn],
    turns: int,
    seconds: float,
) -> dict[str, Times]:
    """Times of the untraced forward and of each subject: so many turns each, or as many
    as can be had in so many seconds, and three at least; no gradients."""

    def untraced() -> tuple[float | None, float]:
        start = thread_time()
        model(x)
        took = thread_time() - start
        return took, took

    every = {UNTRACED: untraced, **subjects}
    times = {name: Times() for name in every}
    with torch.no_grad():
        for turn in every.values():
            turn()
        gc.collect()
        gc.freeze()  # what stands now need not be looked through in every turn
        stop = perf_counter() + seconds
        for at in range(turns):
            if at >= 3 and perf_counter() > stop:
                break
            for name, turn in every.items():
                # garbage and a cold cache, as the turn before left them, are not for
                # this one to pay
                gc.collect()
                model(x)
                forward, whole = turn()
                if forward is not None:
                    times[name].forward.append(forward)
                times[name].whole.append(whole)
        gc.unfreeze()
    return times


def fastest(times: list[float]) -> float:
    """The mean of the fastest tenth: one alone may be a slip of the clock."""
    return statistics.mean(sorted(times)[: max(1, len(times) // 10)])
