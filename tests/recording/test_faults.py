"""Our own code may fail anywhere and in any way: the batch is as without a trace."""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

import pytest
import torch
from fault_injection import can_fail, failing_at, first_lines, lines_of_ours
from faulty_batches import (
    OPTIONS,
    batch,
    check,
    installed,
    is_told,
    look_at,
    places,
    state,
)
from torch import nn

import shapetrace
from shapetrace import ShapeTraceWarning

pytestmark = pytest.mark.usefixtures("cost_of_the_tracer")

#: what stands between our faults and the user, and at the block's two ends
GUARDS = {
    *("trace", "Trace.__enter__", "Trace._begin", "Trace.__exit__", "Trace._end"),
    *("Trace._tell", "Trace._finish", "Losing.__init__", "Losing.__enter__"),
    *("Losing.__exit__", "Faults.losing", "Faults.__len__", "Session.take_off"),
    *("Session.leave", "Session._surely", "Recorder.uninstall", "RunQueue.close"),
}
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

#: Ctrl-C in a weak reference's callback ends there
CALLED_BY_PYTHON = {
    *("Table._forget", "let_go", "Site.release", "MemoryWatch._watch.<locals>.gone"),
}

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


@unraisable
def test_each_line_of_the_guards_and_of_the_block_s_two_ends_may_fail():
    how = {"fails": True, "given": True}
    lines = [
        place
        for place, name in places({}, **how).items()
        if name in GUARDS and can_fail(place)
    ]
    assert len(lines) > 60
    check(lines, {}, **how)


@pytest.mark.faults
@unraisable
@pytest.mark.parametrize(
    ("options", "fails"), [({}, True), ({"memory": True, "backward": True}, False)]
)
def test_each_line_may_fail(options, fails):
    how = {"fails": fails, "given": True}
    lines = [place for place in places(options, **how) if can_fail(place)]
    assert len(lines) > 3000
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
    names = places(options, **how)
    for place in first_lines(names):
        before, interrupted = state(), False
        try:
            with failing_at(place, KeyboardInterrupt()) as raised:
                batch(options, **how)
        except KeyboardInterrupt:
            interrupted = True
        if not raised:  # a line that a busy machine makes run
            continue
        # Python lets none out of a weak reference's callback
        assert interrupted or names[place] in CALLED_BY_PYTHON, names[place]
        found = [*installed(), *([] if state() == before else [state()])]
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


@pytest.mark.parametrize(
    ("where", "lost", "fails"),
    [
        ("signatures.binding.Bound.tensor", "where some sizes come from", True),
        ("signatures.binding.Bound.tensor", "where some sizes come from", False),
        ("diagnosis.reading.Program.read", "what comes behind some fixes", True),
        ("costs.flops.traffic", "some FLOPs and bytes", False),
        ("costs.repeat._step_sizes", "FLOPs and bytes", False),
    ],
)
def test_a_fault_that_costs_an_answer_is_told(where, lost, fails, monkeypatch):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("our own fault")

    untraced = batch({}, fails=fails, given=True)
    monkeypatch.setattr(f"shapetrace.{where}", broken)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ShapeTraceWarning)
        made = batch({}, fails=fails, given=True)
        assert made.trace is not None
        look_at(made.trace)
    assert made.error == untraced.error
    told = [str(one.message) for one in warned]
    assert len([one for one in told if f"own cost {lost}" in one]) == 1
    assert "our own fault" in "".join(told)


@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize(
    "first", ["stacks.Stacks.here", "guards.name_roots", "session.Session.finish"]
)
@pytest.mark.parametrize(
    "second",
    ["is_users", "_said", "_warning", "_place", "Faults.notes", "Faults._note"],
)
def test_a_second_fault_while_the_first_is_noted_is_none_of_the_user_s(
    first, second, fails, monkeypatch
):
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("our own fault")

    untraced = batch({}, fails=fails, given=True)
    monkeypatch.setattr(f"shapetrace.recording.{first}", broken)
    monkeypatch.setattr(f"shapetrace.recording.faults.{second}", broken)
    with pytest.warns(ShapeTraceWarning, match="a fault of shapetrace's own"):
        made = batch({}, fails=fails, given=True)
    assert made.error == untraced.error and installed() == []
    assert all(map(torch.equal, made.computed, untraced.computed))


def test_nothing_is_left_on_where_a_call_is_repeated_and_ours_fails():
    made = batch({}, fails=False, given=True)
    assert made.trace is not None
    with lines_of_ours() as found:
        assert made.trace.costs is not None
    ends = ("repeating", "counting")
    lines = [one for one, name in found.items() if name in ends and can_fail(one)]
    assert len(lines) >= 6
    for place in lines:
        t, before = batch({}, fails=False, given=True).trace, state()
        with warnings.catch_warnings(), failing_at(place, RuntimeError()) as raised:
            warnings.simplefilter("ignore", ShapeTraceWarning)
            assert t is not None and t.costs is not None
        assert raised and state() == before and installed() == [], place
        assert torch._C._len_torch_dispatch_stack() == 0


@pytest.mark.faults
@pytest.mark.parametrize("fails", [True, False])
def test_a_fault_in_any_line_is_told(fails):
    """A warning, a note or an explanation says so, but where a line asks the user's own
    objects, and in those that hand on what was asked for."""
    how = {"fails": fails, "given": True}
    names = places({}, **how)
    unheard = {}
    for place in [place for place in names if can_fail(place)][::5]:
        if not is_told(place, RuntimeError("injected"), **how):
            unheard[place] = names[place]
    asks = {"freeze", "_parts", "_items", "_key", "error_tuple", "ScriptValues.value"}
    asks |= {"References.unchanged", "really_goes", "_made", "Trace._say", "form_of"}
    assert {at: name for at, name in unheard.items() if name not in asks} == {}


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
