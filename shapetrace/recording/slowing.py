"""How much slower torch's functions themselves run beside the tracer.

Between two functions it runs code of its own, which takes their place in the caches of
the processor. So a short function takes longer under a trace, within its own duration:
by a part of it, up to a most. Both are measured with small functions of different
kinds, that are called in turns as layers call them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import CpuClock
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.recorder import Recorder

_ROUNDS, _PASSES = 5, 3
_SIZE = 16


class Slowing(NamedTuple):
    """By which part of its time a function is slower, and by how many nanoseconds at
    most."""

    part: float
    most: float


class _Layer(nn.Module):
    """Calls one function in its forward, and notes how long that took."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.took: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        since = perf_counter_ns()
        made = self.function(x)
        self.took.append(perf_counter_ns() - since)
        return made


def slowing(extensions: Callable[[], Extensions | None]) -> Slowing:
    """Measure it, in about two milliseconds."""
    x = torch.zeros(_SIZE, _SIZE, device="cpu")
    weight = torch.zeros(_SIZE, _SIZE, device="cpu")
    functions = (
        partial(functional.linear, weight=weight),
        *(functional.relu, functional.gelu, torch.tanh),
        partial(functional.layer_norm, normalized_shape=(_SIZE,)),
        *(functional.silu, torch.exp, partial(functional.softmax, dim=-1)),
    )
    bare = nn.Sequential(*(_Layer(one) for one in functions))
    traced: list[list[int]] = [[] for _ in functions]
    for _ in range(_ROUNDS):
        for _ in range(_PASSES):
            bare(x)
        watched = nn.Sequential(*(_Layer(one) for one in functions))
        recorder = Recorder(CpuClock(), extensions=extensions())
        recorder.install([("", watched)])
        try:
            for _ in range(_PASSES):
                watched(x)
        finally:
            recorder.uninstall()
        for call in Replay(recorder, []).functions:
            traced[call.index % len(functions)].append(call.duration_ns)
    before = [_lower(layer.took) for layer in bare if isinstance(layer, _Layer)]
    beside = list(map(_lower, traced))
    slower = [max(0, b - a) for a, b in zip(before, beside, strict=True)]
    return Slowing(sum(slower) / sum(beside), sorted(slower)[-2])


def _lower(times: list[int]) -> int:
    """The lower quartile."""
    return sorted(times)[len(times) // 4]
