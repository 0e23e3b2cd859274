"""What recording costs by itself, so that it can be taken off the recorded times.

Measured when the records are first asked for, after the batch and not at entry: the
traced batch then waits for nothing, and a trace that nobody reads costs nothing. The
measurement runs in a thread of its own, where no function mode, autocast or default
device of the user's is in force and none of them sees its calls. What the recorder
sees itself take, in the batch as here, is left out: here is measured what it cannot
see, the way from torch to it and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import thread_time_ns
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softmax

import shapetrace.recording.events as raw
import shapetrace.torch_internals as torch_internals
from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import CpuClock
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.slowing import Slowing, slowing
from shapetrace.recording.warned_from import USUAL_LEVEL
from shapetrace.records import Overhead

_CALLS, _ROUNDS = 16, 9
#: so many calls come first, which fill the processor's cache
_WARMING = 3


class _Empty(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class _Loop(nn.Module):
    """Calls one thing many times in its forward, and notes what a call took: this
    thread's processor time, in which other work on the machine is not."""

    def __init__(self) -> None:
        super().__init__()
        self.took: list[float] = []
        #: how much of it the recorder saw itself take
        self.seen: list[float] = []
        self._since = 0

    def clock(self, at: int) -> None:
        if at == _WARMING:
            self._since = thread_time_ns()
        elif at == _WARMING + _CALLS:
            self.took.append((thread_time_ns() - self._since) / _CALLS)

    def cost(self, rounds: slice = slice(None)) -> float:
        """What one call takes, unseen."""
        return _lower(self.took[rounds]) - _lower(self.seen[rounds] or [0.0])


#: stand-ins more than the one of the usual call
_FURTHER = 2
_TIMES = tuple(range(_WARMING + _CALLS + 1))


class _Modules(_Loop):
    def __init__(self) -> None:
        super().__init__()
        self.empty = _Empty()

    def forward(self, x: Tensor) -> None:
        clock, empty = self.clock, self.empty
        for at in _TIMES:
            clock(at)
            empty(x)


class _Functions(_Loop):
    def forward(self, x: Tensor) -> None:
        clock, add = self.clock, torch.add
        for at in _TIMES:
            clock(at)
            add(x, x)


class _PythonFunctions(_Loop):
    def forward(self, x: Tensor) -> None:
        clock = self.clock
        for at in _TIMES:
            clock(at)
            relu(x)


class _Warning(_Loop):
    """As `nn.Softmax` calls it: what may warn is called through stand-ins."""

    def forward(self, x: Tensor) -> None:
        clock = self.clock
        for at in _TIMES:
            clock(at)
            softmax(x, -1, _stacklevel=USUAL_LEVEL + _FURTHER)


class _SeveralOutputs(_Loop):
    def forward(self, x: Tensor) -> None:
        clock, unbind = self.clock, torch.unbind
        for at in _TIMES:
            clock(at)
            unbind(x)


class _Parameters(_Loop):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, device="cpu"))

    def forward(self, x: Tensor) -> None:
        clock = self.clock
        for at in _TIMES:
            clock(at)
            self.weight  # a Python function of the module's finds it


class _Attributes(_Loop):
    def forward(self, x: Tensor) -> None:
        clock = self.clock
        for at in _TIMES:
            clock(at)
            x.shape  # the function mode is asked for it


class _Layers(_Loop):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ReLU()

    def forward(self, x: Tensor) -> None:
        clock, layer = self.clock, self.layer
        for at in _TIMES:
            clock(at)
            layer(x)


class _Nothing(_Loop):
    def forward(self, x: Tensor) -> None:
        clock = self.clock
        for at in _TIMES:
            clock(at)


_KINDS: tuple[type[_Loop], ...] = (
    *(_Nothing, _Modules, _Functions, _PythonFunctions, _SeveralOutputs),
    *(_Parameters, _Layers, _Attributes, _Warning),
)


def calibrate(
    functions: bool = True,
    extensions: Callable[[], Extensions | None] = lambda: None,
    working: Callable[[], Extensions | None] = lambda: None,
    events: Callable[[], list[Any]] = list,
) -> Overhead | None:
    """The cost of one recorded module call and function call, in some milliseconds.

    `extensions` makes some that are called as those of the trace are, which is part of
    the cost; `working` some that also work as those do, while their clock stands still.
    `events` makes a list such as the trace fills. None where it cannot be measured:
    global module hooks would see its calls.
    """
    if (
        torch_internals.forward_hooks
        or torch_internals.forward_pre_hooks
        or torch_internals.always_called
    ):
        return None
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_measure, functions, extensions, working, events).result()


def _measure(
    functions: bool,
    extensions: Callable[[], Extensions | None],
    working: Callable[[], Extensions | None],
    events: Callable[[], list[Any]],
) -> Overhead:
    # threads that share small work wait for each other, on a busy machine for seconds
    # in all; what the main thread has set stays as it is
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _alone(functions, extensions, working, events)
    finally:
        torch.set_num_threads(threads)


def _alone(
    functions: bool,
    extensions: Callable[[], Extensions | None],
    working: Callable[[], Extensions | None],
    events: Callable[[], list[Any]],
) -> Overhead:
    x = torch.zeros(1, 1, device="cpu", requires_grad=True)
    bare = [kind() for kind in _KINDS]
    full = [kind() for kind in _KINDS]
    replay: Replay | None = None
    # extensions look at autograd's graph: only where there are some is one made
    with torch.set_grad_enabled(extensions() is not None):
        for at in range(_ROUNDS):
            for loop in bare:
                loop(x)
            looking = extensions()
            recorder = Recorder(
                CpuClock() if looking is None else looking.clock,
                functions=functions,
                extensions=looking,
                events=events(),
            )
            recorder.install([(str(at), loop) for at, loop in enumerate(full)])
            try:
                for loop in full:
                    loop(x)
            finally:
                recorder.uninstall()
            for loop, seen in zip(full, _seen(recorder.events), strict=True):
                loop.seen.append(seen)
            if at == _ROUNDS - 1:  # one is enough, and takes as long as the rest
                replay = Replay(recorder, [])
        beside = slowing(working) if functions else Slowing(0.0, 0.0, 0.0)
    assert replay is not None
    costs = _costs(bare, full)
    _, module, function, in_python, several, *_, read, _ = costs
    alone = [loop.cost() for loop in bare]
    nothing, empty, add, one, _, parameter, layer, _, warning = alone
    inner = [call.duration_ns for call in replay.calls if call.parent is not None]
    # without functions a mode of extensions is all there is
    function_inside = further = 0.0
    if functions:
        function_inside = _inside(replay, "add", add - nothing)
        further = _inside(replay, "softmax", warning - nothing) - function_inside
    return Overhead(
        module=module,
        # of a forward of no work the recorded duration is all the recorder's
        module_inside=min(_lower(inner), module),
        module_bare=max(empty - nothing, 0.0),
        layer_bare=max(layer - empty - one + nothing, 0.0),
        parameter_bare=max(parameter - nothing, 0.0),
        function=function,
        function_inside=min(max(function_inside, 0.0), function),
        stand_in=max(further / _FURTHER, 0.0),
        python_function=in_python,
        ending=max(0.0, function - several),
        attribute=read,
        uncertainty=_uncertainty(bare, full),
        swing=_swing(bare),
        slower=beside.part,
        slower_most=beside.most,
        slower_most_in_python=beside.most_in_python,
    )


def _seen(events: list[Any]) -> list[float]:
    """How long the recorder saw itself work for one call in each of the loops."""
    loops: list[list[int]] = []
    at = 0
    while at < len(events):
        kind, end = events[at], raw.after(events, at)
        if kind == raw.ENTER and "." not in events[at + 1].name:
            loops.append([])
        elif kind in (raw.CALL, raw.MAKE):
            began, ended = events[(stamps := at + 6 + events[at + 5]) : stamps + 2]
            met, left = (events[end - 1], ended)
            if kind == raw.CALL:
                met, left = events[end - 2 : end]
            loops[-1].append(began - met + left - ended)
        at = end
    return [sum(loop[_WARMING:]) / _CALLS for loop in loops]


def _costs(
    bare: Sequence[_Loop], full: Sequence[_Loop], rounds: slice = slice(None)
) -> list[float]:
    """What each kind of call takes longer under the trace, unseen."""
    return [
        max(traced.cost(rounds) - alone.cost(rounds), 0.0)
        for traced, alone in zip(full, bare, strict=True)
    ]


def _uncertainty(bare: Sequence[_Loop], full: Sequence[_Loop]) -> float:
    """By which part of it a cost may be off: by how much those of calls differ between
    one half of the rounds and the other."""
    some, others = (_costs(bare, full, slice(at, None, 2))[1:4] for at in range(2))
    off = sum(abs(a - b) for a, b in zip(some, others, strict=True))
    return min(1.0, off / (sum(some + others) or 1.0))


def _inside(replay: Replay, name: str, alone: float) -> float:
    """How much longer than alone the calls of one function were by their own times."""
    return _lower([f.duration_ns for f in replay.functions if f.name == name]) - alone


def _swing(bare: Sequence[_Loop]) -> float:
    """By which part of it the same work without a trace takes now more, now less: from
    the quarter that took least to the one that took most, in the middle of the loops.
    """
    return median(_upper(loop.took) / _lower(loop.took) - 1 for loop in bare)


def _upper(times: Sequence[float]) -> float:
    return sorted(times)[-1 - len(times) // 4]


def _lower(times: Sequence[float]) -> float:
    """The lower quartile, since whatever disturbs a measurement makes it longer."""
    return float(sorted(times)[len(times) // 4])
