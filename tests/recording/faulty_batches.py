"""A training step in which a line of ours fails, and what that does to the user."""

from __future__ import annotations

import _thread
import gc
import os
import threading
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fault_injection import OURS, Place, failing_at, lines_of_ours
from torch import nn
from torch.nn.modules import module as torch_module

import shapetrace
from shapetrace import ShapeTraceWarning

OPTIONS: list[dict[str, Any]] = [
    {},
    {"memory": True, "backward": True},
    {"functions": False},
    {"max_calls": 3},
]
KINDS = [RuntimeError, MemoryError, RecursionError, StopIteration, AssertionError]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor, *, twice: bool) -> dict[str, torch.Tensor]:
        y = self.rest(self.first(x))
        return {"y": y * 2 if twice else y}


class Batch(NamedTuple):
    trace: shapetrace.Trace | None
    computed: list[Any]
    error: tuple[type[BaseException], Any] | None
    model: nn.Module


def batch(options: dict[str, Any], *, fails: bool, given: bool) -> Batch:
    """One training step; `fails`: with a loss that raises."""
    torch.manual_seed(0)
    model = Net()
    t = error = None
    computed: list[Any] = []
    try:
        t = shapetrace.trace(*[model] * given, **options)
        with t:
            computed += step(model, fails=fails)
    except Exception as raised:
        error = type(raised), raised.args
    return Batch(t, computed, error, model)


def step(model: nn.Module, *, fails: bool) -> list[torch.Tensor | None]:
    y = model(torch.ones(2, 4), twice=True)["y"]
    loss = F.mse_loss(y, torch.ones(2, 5 if fails else 3))
    loss.backward()
    return [y.detach(), loss.detach(), *(p.grad for p in model.parameters())]


def installed() -> list[str]:
    """What is left of a trace, anywhere in torch; it is taken off for the next test."""
    registers = [
        torch_module._global_forward_pre_hooks,
        torch_module._global_forward_hooks,
        torch_module._global_backward_hooks,
        torch_module._global_backward_pre_hooks,
    ]
    found = [repr(hook) for register in registers for hook in register.values()]
    for register in registers:
        register.clear()
    while torch._C._len_torch_function_stack():
        found.append(repr(torch._C._pop_torch_function_stack()))
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
        found.append("saved tensor hooks")
    hidden = [f for f in warnings.filters if "global hooks" in str(f[1])]
    return found + list(map(str, hidden))


def state() -> tuple[Any, ...]:
    """What of the process a trace changes while it runs, or takes."""
    files = Path("/proc/self/fd")
    return (
        gc.isenabled(),
        torch._C._is_torch_function_enabled(),
        len(warnings.filters),
        threading.active_count(),
        _thread._count(),
        len(os.listdir(files)) if files.exists() else 0,
    )


def still_called(model: nn.Module) -> list[str]:
    """The functions of ours that run in a step when the block is over: hooks on its
    tensors and on their nodes can be seen in no other way."""
    with lines_of_ours() as found:
        step(model, fails=False)
    return sorted(set(found.values()))


def look_at(t: shapetrace.Trace) -> None:
    """Every view and analysis."""
    assert str(t) and repr(t) and t._repr_html_() and str(t.explain()) and t.summary()
    for by in ("call", "module", "function", "broadcast"):
        assert t.to_dataframe(by=by) is not None
    assert (t.findings, t.losses, t.broadcasts, t.costs) is not None
    for write in (t.to_csv, t.to_json, t.to_html, t.to_chrome_trace):
        write(os.devnull)


def places(options: dict[str, Any], *, fails: bool, given: bool) -> dict[Place, str]:
    """The lines of ours that run in such a batch and can be made to fail."""
    batch(options, fails=fails, given=given)  # what is imported late is there
    with warnings.catch_warnings(), lines_of_ours() as found:
        warnings.simplefilter("ignore", ShapeTraceWarning)
        batch(options, fails=fails, given=given)
    return found


def hurt(
    place: Place,
    error: BaseException,
    options: dict[str, Any],
    untraced: Batch,
    *,
    fails: bool,
    given: bool,
    after: int = 0,
) -> list[str]:
    """What the fault does to the user's batch: nothing, it is hoped."""
    found = []
    before = state()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ShapeTraceWarning)
        with failing_at(place, error, after) as raised:
            made = batch(options, fails=fails, given=given)
    if not raised:
        return []
    if made.error != untraced.error:
        found.append(f"{made.error} left the block")
    pairs = zip(made.computed, untraced.computed)
    if len(made.computed) != len(untraced.computed) or not all(
        torch.equal(a, b) for a, b in pairs
    ):
        found.append("another result")
    if sum("shapetrace's own" in str(one.message) for one in warned) > 1:
        found.append("warned of more than once")
    found += installed()
    found += [f"{name} is called still" for name in still_called(made.model)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeTraceWarning)
        try:
            assert made.trace is not None
            look_at(made.trace)
        except Exception as view:
            found.append(f"a view raises {view!r}")
    if state() != before:
        found.append(f"{before} has become {state()}")
        gc.enable()
    return found


def is_told(place: Place, error: BaseException, **how: bool) -> bool:
    """Whether the user hears of a fault there; so it is where the line is not met."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with failing_at(place, error) as raised:
            made = batch({}, **how)
        assert made.trace is not None
        found = [str(one.message) for one in warned]
        found += [*made.trace.recording.notes, *map(str, made.trace.findings)]
    words = ("shapetrace's own", "injected")
    return not raised or any(word in one for one in found for word in words)


def told(place: Place, name: str) -> str:
    return f"{place[0].removeprefix(OURS)}:{place[1]} {name}"


def check(
    chosen: list[Place], options: dict[str, Any], after: int = 0, **how: bool
) -> None:
    names = places(options, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeTraceWarning)
        untraced = batch({}, **how)
    hurts = {}
    for number, place in enumerate(chosen):
        kind = KINDS[number % len(KINDS)]
        found = hurt(place, kind("injected"), options, untraced, after=after, **how)
        if found:
            hurts[told(place, names.get(place, "?"))] = found
    assert hurts == {}
