"""Our own code may fail anywhere and in any way: the batch is as without a trace."""

from __future__ import annotations

import _thread
import gc
import os
import random
import threading
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from fault_injection import (
    OURS,
    Place,
    can_fail,
    failing_at,
    first_lines,
    lines_of_ours,
)
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

#: what torch calls: no code of ours stands around these
CALLED_BY_TORCH = (
    "module_hooks.<locals>.enter",
    "module_hooks.<locals>.leave",
    "function_mode.<locals>.Mode.__torch_function__",
    "function_mode.<locals>.attribute",
    "function_mode.<locals>.noted",
    "catching.<locals>.caught",
    "Extensions.around.<locals>.pre_hook",
    "Extensions.around.<locals>.post_hook",
    "Extensions.mode.<locals>.Mode.__torch_function__",
    "Extensions._guarded.<locals>.guarded",
)


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


#: a fault in a weak reference's callback has nobody to go to but Python's own log
unraisable = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
WAYS = [
    (options, fails, given)
    for options in OPTIONS
    for fails in (False, True)
    for given in (True, False)
]


@pytest.mark.faults
@unraisable
@pytest.mark.parametrize(("options", "fails", "given"), WAYS)
def test_each_function_may_fail(options, fails, given):
    how = {"fails": fails, "given": given}
    check(first_lines(places(options, **how)), options, **how)


@unraisable
@pytest.mark.parametrize(
    ("options", "fails", "given"),
    [
        ({}, True, True),
        ({"memory": True, "backward": True}, False, True),
        *(pytest.param(*way, marks=pytest.mark.faults) for way in WAYS),
    ],
)
def test_each_line_of_what_torch_calls_may_fail(options, fails, given):
    how = {"fails": fails, "given": given}
    lines = [
        place
        for place, name in places(options, **how).items()
        if name in CALLED_BY_TORCH and can_fail(place)
    ]
    assert len(lines) > (20 if options.get("functions") is False else 60)
    check(lines, options, **how)


@pytest.mark.faults
@unraisable
@pytest.mark.parametrize(("options", "fails", "given"), WAYS)
def test_lines_here_and_there_may_fail(options, fails, given):
    how = {"fails": fails, "given": given}
    lines = [place for place in places(options, **how) if can_fail(place)]
    for after in (0, 3):  # some lines are others where something is known already
        check(random.Random(after).sample(lines, 20), options, after, **how)


@pytest.mark.faults
@unraisable
@pytest.mark.parametrize("options", OPTIONS[:2])
def test_an_interrupt_anywhere_is_the_user_s_and_leaves_nothing(options):
    how = {"fails": False, "given": True}
    left = {}
    for place in first_lines(places(options, **how)):
        try:
            with failing_at(place, KeyboardInterrupt()):
                batch(options, **how)
        except KeyboardInterrupt:
            pass
        found = installed()
        if found:
            left[place] = found
    assert left == {}


@pytest.mark.parametrize("part", ["entry", "a hook", "the replay", "an analysis"])
def test_one_warning_says_what_was_lost_and_how_to_report_it(part, monkeypatch):
    where = {
        "entry": "shapetrace.recording.guards.name_roots",
        "a hook": "shapetrace.recording.stacks.Stacks.here",
        "the replay": "shapetrace.recording.build.Replay._run",
        "an analysis": "shapetrace.lineage.Graph.__init__",
    }[part]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("our own fault")

    monkeypatch.setattr(where, broken)
    with pytest.warns(ShapeTraceWarning) as warned:
        made = batch({}, fails=False, given=True)
    (said,) = [str(one.message) for one in warned]
    for part in ("Your batch is unharmed", "ZeroDivisionError: our own fault", "torch"):
        assert part in said
    assert f"shapetrace {shapetrace.__version__}" in said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeTraceWarning)
        look_at(made.trace)
        if where != "shapetrace.lineage.Graph.__init__":
            assert any("incomplete" in note for note in made.trace.recording.notes)


class Wordless(Exception):
    """As a container of the user's may raise that is looked into."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_fault_that_has_no_words_is_warned_of_too(monkeypatch):
    def broken(*args: Any) -> Any:
        raise Wordless

    monkeypatch.setattr("shapetrace.recording.stacks.Stacks.here", broken)
    with pytest.warns(ShapeTraceWarning, match="Your batch is unharmed.*Wordless"):
        made = batch({}, fails=False, given=True)
    assert made.error is None and len(made.computed) == 6


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("options", [{}, {"memory": True}, {"functions": False}])
def test_a_clock_that_fails_costs_a_time_and_not_the_batch(options, monkeypatch):
    class Clock:
        left = -1

        def now(self) -> int:
            self.left -= 1
            if self.left == 0:
                raise OSError("no clock")
            return time.perf_counter_ns()

    clock = Clock()
    monkeypatch.setattr("shapetrace.recording.clocks.CpuClock.now", clock.now)
    untraced = batch({}, fails=False, given=True)
    for clock.left in range(1, 60, 2):
        made = batch(options, fails=False, given=True)
        assert made.error is None and installed() == []
        assert all(map(torch.equal, made.computed, untraced.computed))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["active_modes", "count_modes", "replace_modes"])
def test_what_cannot_be_taken_off_is_told_and_the_batch_is_as_ever(
    name, options, monkeypatch
):
    def broken(*args: Any) -> Any:
        raise ZeroDivisionError

    untraced = batch({}, fails=False, given=True)
    monkeypatch.setattr(f"shapetrace.torch_internals.{name}", broken)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        made = batch(options, fails=False, given=True)
    assert made.error is None
    assert all(map(torch.equal, made.computed, untraced.computed))
    if installed():
        assert "hooks, some of which are left" in str(warned[-1].message)
        assert str(made.trace)


def test_where_warnings_are_errors_the_user_s_own_exception_still_leaves(monkeypatch):
    def broken(*args: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("shapetrace.recording.guards.name_roots", broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            with shapetrace.trace(nn.Linear(4, 3)) as t:
                nn.Linear(4, 3)(torch.ones(2, 5))
    assert t.calls == ()
