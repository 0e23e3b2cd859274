"""What recording costs by itself, so that it can be taken off the recorded times.

Measured when the records are first asked for, after the batch and not at entry: the
traced batch then waits for nothing, and a trace that nobody reads costs nothing. The
measurement runs in a thread of its own, where no function mode, autocast or default
device of the user's is in force and none of them sees its calls.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from threading import Thread
from time import perf_counter_ns

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import CpuClock
from shapetrace.recording.extensions.base import Companion
from shapetrace.recording.recorder import Recorder
from shapetrace.records import FunctionCall, ModuleCall, Overhead

_CALLS = 40
_ROUNDS = 5
_COLD_ROUNDS = 15
#: a kernel that moves as many bytes leaves little else in the cache of a core
CACHE_BYTES = 2 << 20


class _Empty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class _Flood(nn.Module):
    """A kernel that empties the cache, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.flood = torch.zeros(2 * CACHE_BYTES, dtype=torch.uint8, device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        self.flood.zero_()
        return x


def calibrate(
    functions: bool = True, companion: Callable[[], Companion | None] = lambda: None
) -> Overhead | None:
    """The cost of one recorded module call and function call, in some milliseconds.

    `companion` makes extensions like those of the trace, whose cost is part of it.
    None where it cannot be measured: global module hooks would see its calls.
    """
    if (
        module_hooks._global_forward_hooks
        or module_hooks._global_forward_pre_hooks
        or module_hooks._global_forward_hooks_always_called
    ):
        return None
    found: list[Overhead] = []
    thread = Thread(target=lambda: found.append(_measure(functions, companion)))
    thread.start()
    thread.join()
    return found[0] if found else None


def _measure(functions: bool, companion: Callable[[], Companion | None]) -> Overhead:
    module, x = _Empty(), torch.zeros(1, device="cpu", requires_grad=True)
    costs: list[tuple[float, float]] = []
    replay: Replay | None = None
    extended = companion() is not None

    def modules() -> None:
        for _ in range(_CALLS):
            module(x)

    def adds() -> None:
        for _ in range(_CALLS):
            torch.add(x, x)

    # extensions look at autograd's graph: only where there are some is one made
    with torch.set_grad_enabled(extended):
        for at in range(_ROUNDS):
            bare_module, bare_add = _time(modules), _time(adds)
            with_it = companion()
            recorder = Recorder(CpuClock(), functions=functions, companion=with_it)
            recorder.install([("", module)])
            try:
                full_module, full_add = _time(modules), _time(adds)
            finally:
                recorder.uninstall()
                if with_it is not None:
                    with_it.finish()
            costs.append((full_module - bare_module, full_add - bare_add))
            if at == _ROUNDS - 1:  # one is enough, and takes as long as the rest
                replay = Replay(recorder, [])
    assert replay is not None
    module_cold, function_cold = _cold(functions)
    module_cost, function_cost = (median(column) for column in zip(*costs, strict=True))
    inside = _middle(replay.calls)
    function_inside = _middle(replay.functions) - bare_add
    if not replay.functions:  # then a function mode of extensions is all there is
        function_inside = 0.0
    return Overhead(
        module=max(module_cost, 0.0),
        # of a forward of no work the recorded duration is all the recorder's
        module_inside=min(max(inside, 0.0), max(module_cost, 0.0)),
        function=max(function_cost, 0.0),
        function_inside=min(max(function_inside, 0.0), max(function_cost, 0.0)),
        module_cold=max(module_cold - max(module_cost, 0.0), 0.0),
        function_cold=max(function_cold - max(function_cost, 0.0), 0.0),
    )


def _cold(functions: bool) -> tuple[float, float]:
    """The cost of one module call and one function call whose code and data must be
    fetched from memory, since a large kernel runs in between."""
    module, x = _Flood(), torch.zeros(1, device="cpu")
    module(x)
    recorder = Recorder(CpuClock(), functions=functions)
    recorder.install([("", module)])
    whole = []
    try:
        for _ in range(_COLD_ROUNDS):
            start = perf_counter_ns()
            module(x)
            whole.append(perf_counter_ns() - start)
    finally:
        recorder.uninstall()
    replay = Replay(recorder, [])
    if not functions:
        return 0.0, 0.0
    around, inside = [], []
    for took, call, kernel in zip(whole, replay.calls, replay.functions, strict=True):
        # of the call's own duration, what is not the kernel's is the function's cost
        inside.append(call.duration_ns - kernel.duration_ns)
        around.append(took - call.duration_ns)
    return float(median(around)), float(median(inside))


def _time(run: Callable[[], None]) -> float:
    start = perf_counter_ns()
    run()
    return (perf_counter_ns() - start) / _CALLS


def _middle(calls: tuple[ModuleCall, ...] | tuple[FunctionCall, ...]) -> float:
    return float(median(call.duration_ns for call in calls)) if calls else 0.0
