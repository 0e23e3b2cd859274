"""What recording costs by itself, so that it can be taken off the recorded times.

Measured when the records are first asked for, after the batch and not at entry: the
traced batch then waits for nothing, and a trace that nobody reads costs nothing. The
measurement runs in a thread of its own, where no function mode, autocast or default
device of the user's is in force and none of them sees its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter_ns, thread_time_ns

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, relu

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import CpuClock
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.recorder import Recorder
from shapetrace.records import Overhead

_CALLS = 40
#: what the recorder is given of `relu` and of `batch_norm`
FEW_ARGUMENTS, _MANY_ARGUMENTS = 2, 8
_ROUNDS = 12
_COLD_ROUNDS = 16
#: a kernel that moves as many bytes leaves little else in the cache of a core
CACHE_BYTES = 2 << 20


class _Empty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class _Loop(nn.Module):
    """Calls one thing many times in its forward, where most calls of a model are."""

    def __init__(self, call: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> None:
        call = self.call
        for _ in range(_CALLS):
            call(x)


class _Flood(nn.Module):
    """A kernel that empties the cache, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.flood = torch.zeros(2 * CACHE_BYTES, dtype=torch.uint8, device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        self.flood.zero_()
        return x


def calibrate(
    functions: bool = True, extensions: Callable[[], Extensions | None] = lambda: None
) -> Overhead | None:
    """The cost of one recorded module call and function call, in some milliseconds.

    `extensions` makes extensions like those of the trace, whose cost is part of it.
    None where it cannot be measured: global module hooks would see its calls.
    """
    if (
        torch_internals.forward_hooks
        or torch_internals.forward_pre_hooks
        or torch_internals.always_called
    ):
        return None
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_measure, functions, extensions).result()


def _measure(functions: bool, extensions: Callable[[], Extensions | None]) -> Overhead:
    x = torch.zeros(1, 1, device="cpu", requires_grad=True)
    one = torch.ones(1, device="cpu")
    loops = (
        _Loop(_Empty()),
        _Loop(lambda x: torch.add(x, x)),
        _Loop(lambda x: relu(x)),
        _Loop(lambda x: batch_norm(x, one, one, one, one)),
    )
    bare: list[list[float]] = [[] for _ in loops]
    full: list[list[float]] = [[] for _ in loops]
    replay: Replay | None = None
    # extensions look at autograd's graph: only where there are some is one made
    with torch.set_grad_enabled(extensions() is not None):
        for at in range(_ROUNDS):
            for loop, times in zip(loops, bare, strict=True):
                times.append(_time(loop, x))
            recorder = Recorder(
                CpuClock(), functions=functions, extensions=extensions()
            )
            recorder.install([(str(at), loop) for at, loop in enumerate(loops)])
            try:
                for loop, times in zip(loops, full, strict=True):
                    times.append(_time(loop, x))
            finally:
                recorder.uninstall()
            if at == _ROUNDS - 1:  # one is enough, and takes as long as the rest
                replay = Replay(recorder, [])
    assert replay is not None
    costs, spreads = zip(*map(_cost, bare, full), strict=True)
    module_cost, function_cost, few, many = costs
    module_cold, function_cold = _cold(functions)
    inner = [call for call in replay.calls if call.parent is not None]
    inside = _lower([call.duration_ns for call in inner])
    adds_inside = [call.duration_ns for call in replay.functions[:_CALLS]]
    # without functions a mode of extensions is all there is
    function_inside = _lower(adds_inside) - _lower(bare[1]) if adds_inside else 0.0
    return Overhead(
        module=module_cost,
        # of a forward of no work the recorded duration is all the recorder's
        module_inside=min(inside, module_cost),
        function=function_cost,
        function_inside=min(max(function_inside, 0.0), function_cost),
        python_function=few,
        argument=max(0.0, (many - few) / (_MANY_ARGUMENTS - FEW_ARGUMENTS)),
        module_cold=max(module_cold - module_cost, 0.0),
        function_cold=max(function_cold - function_cost, 0.0),
        uncertainty=max(spreads),
    )


def _cost(bare: list[float], full: list[float]) -> tuple[float, float]:
    """What a call takes longer, and by which part of it that may be off. The lower
    quartile, since whatever disturbs a measurement makes it longer."""
    cost = max(_lower(full) - _lower(bare), 0.0)
    spread = (median(full) - _lower(full)) + (median(bare) - _lower(bare))
    return cost, min(1.0, spread / cost) if cost else 0.0


def _lower(times: Sequence[float]) -> float:
    """The lower quartile."""
    return float(sorted(times)[len(times) // 4])


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
    around: list[float] = []
    inside: list[float] = []
    for took, call, kernel in zip(whole, replay.calls, replay.functions, strict=True):
        # of the call's own duration, what is not the kernel's is the function's cost
        inside.append(call.duration_ns - kernel.duration_ns)
        around.append(took - call.duration_ns)
    return _lower(around), _lower(inside)


def _time(loop: _Loop, x: Tensor) -> float:
    """Nanoseconds a call of this thread's processor time: other work on the machine
    is not in it."""
    start = thread_time_ns()
    loop(x)
    return (thread_time_ns() - start) / _CALLS
