"""How much slower torch's functions themselves run beside the tracer.

Between two functions it runs code of its own, which takes their place in the caches of
the processor: that of its extensions too, for which the clock stands still. So a short
function takes longer under a trace, within its own duration: by a part of it, up to a
most. Both are measured with functions of different kinds, small ones and such as have
more to find in the caches, that are called in turns as layers call them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import CpuClock
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.recorder import Recorder

_ROUNDS, _PASSES = 5, 3
_ROWS, _CHANNELS = 32, 8
_WIDTHS = (16, 256)


class Slowing(NamedTuple):
    """By which part of its time a small function is slower, and by how many nanoseconds
    at most: one of torch's C++, and one in Python that calls many others."""

    part: float
    most: float
    most_in_python: float


class _Layer(nn.Module):
    """Calls one function in its forward, and notes how long that took."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.took: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        since = perf_counter_ns()
        self.function(x)
        self.took.append(perf_counter_ns() - since)
        return x


def slowing(extensions: Callable[[], Extensions | None]) -> Slowing:
    """Measure it, in about five milliseconds; `extensions` makes those of a trace."""
    small, wide = (list(_measured(width, extensions)) for width in _WIDTHS)
    part = median(max(0, traced - bare) / traced for bare, traced in small)
    python, *others = (max(0, traced - bare) for bare, traced in small + wide)
    in_python = python, others.pop(len(small) - 1)
    return Slowing(part, sorted(others)[-2], max(in_python))


def _measured(
    width: int, extensions: Callable[[], Extensions | None]
) -> Iterator[tuple[int, int]]:
    """Of each function what it takes alone, and beside the tracer."""
    grad = torch.is_grad_enabled()
    x, weight, stacked, images, kernels = (
        torch.zeros(*shape, device="cpu", requires_grad=grad)
        for shape in (
            *((_ROWS, width), (width, width), (3 * width, width)),
            *((1, _CHANNELS, 4, width), (_CHANNELS, _CHANNELS, 3, 3)),
        )
    )

    def attend(x: Tensor) -> Any:
        weights = (*(width, 2, stacked, None, None, None, False, 0.0), weight, None)
        return functional.multi_head_attention_forward(x, x, x, *weights)

    def convolve(x: Tensor) -> Tensor:
        return torch.conv2d(images, kernels, padding=1)

    functions = (
        *(attend, partial(functional.linear, weight=weight)),
        *(functional.relu, functional.gelu, torch.tanh),
        partial(functional.layer_norm, normalized_shape=(width,)),
        *(functional.silu, convolve, torch.exp, partial(functional.softmax, dim=-1)),
    )
    bare = [_Layer(one) for one in functions]
    traced: list[list[int]] = [[] for _ in functions]
    alone = nn.Sequential(*bare)
    watched = nn.Sequential(*(_Layer(one) for one in functions))
    for _ in range(_ROUNDS):
        for _ in range(_PASSES):
            alone(x)
        looking = extensions()
        recorder = Recorder(CpuClock(), extensions=looking)
        recorder.install([("", watched)])
        try:
            for _ in range(_PASSES):
                watched(x)
        finally:
            recorder.uninstall()
            if looking is not None:
                looking.release()
        for call in Replay(recorder, []).functions:
            traced[call.index % len(functions)].append(call.duration_ns)
    for layer, times in zip(bare, traced, strict=True):
        yield _lower(layer.took), _lower(times)


def _lower(times: list[int]) -> int:
    """The lower quartile."""
    return sorted(times)[len(times) // 4]
