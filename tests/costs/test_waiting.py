"""What the thread waited for a processor: in which call, and in no corrected time."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from stepping import Steps
from torch import nn

from shapetrace.costs import costs, steps
from shapetrace.costs.waiting import waits
from shapetrace.recording import run_queue
from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import PausingClock
from shapetrace.recording.recorder import Recorder
from shapetrace.records import FunctionCall, ModuleCall, Overhead, Recording, Waiting

MS = 1_000_000
FREE = Overhead(module=0, module_inside=0, function=0, function_inside=0)


def module(index, parent, start, duration, own):
    return ModuleCall(
        index, parent, int(parent is not None), f"m{index}",
        "Net" if parent is None else "Layer", (), (),
        start_ns=start, duration_ns=duration, self_ns=own,
    )  # fmt: skip


def function(index, parent, start, duration):
    return FunctionCall(
        index, parent, "relu", "torch.relu", (), (), start_ns=start,
        duration_ns=duration,
    )  # fmt: skip


def recorded(*waiting, first=MS, second=9 * MS, between=0):
    """A module that calls two, each with a function, the second of which waited."""
    end = first + between + second
    calls = (
        module(0, None, 0, end, between),
        module(1, 0, 0, first, first),
        module(2, 0, first + between, second, second),
    )
    functions = (function(0, 1, 0, first), function(1, 2, first + between, second))
    return Recording(
        calls, functions, {}, {}, overhead=FREE, waiting=waiting, duration_ns=end
    )


def test_a_wait_is_in_no_corrected_time_and_in_every_measured_one():
    found = costs(recorded(Waiting(MS, 10 * MS, 8 * MS)))
    assert [one.corrected_ns for one in found.calls] == [2 * MS, MS, MS]
    assert (found.measured_ns, found.waited_ns) == (10 * MS, 8 * MS)
    assert found.distortion == pytest.approx(0)


def test_a_wait_between_functions_is_that_of_the_module_around_them():
    rec = recorded(Waiting(MS, 9 * MS, 6 * MS), second=MS, between=7 * MS)
    (found,) = waits(rec)
    assert (found.function, found.call, found.waited_ns) == (None, 0, 6 * MS)
    assert costs(rec).calls[0].corrected_ns == pytest.approx(3 * MS)


def test_what_does_not_fit_into_the_longest_was_in_the_next_longest():
    rec = recorded(Waiting(MS, 9 * MS, 7 * MS), second=3 * MS, between=5 * MS)
    assert [(w.function, w.call, w.waited_ns) for w in waits(rec)] == [
        (None, 0, 5 * MS),
        (1, 2, 2 * MS),
    ]


def test_a_step_is_told_without_it_and_says_how_much_it_was():
    rec = recorded(Waiting(MS, 10 * MS, 8 * MS))
    (step,) = steps(rec)
    assert (step.duration_ns, step.waited_ns, step.tracer_ns) == (2 * MS, 8 * MS, 0)
    assert "waited for a processor that other work had, at most 8.00 ms" in str(
        steps(rec)
    )
    assert steps(replace(rec, waiting=()))[0].duration_ns == 10 * MS


def test_the_queue_says_what_came_since_it_was_last_asked(tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    file.write_text("100 250 1\n")
    monkeypatch.setattr(run_queue, "_FILE", os.fspath(file))
    queue = run_queue.RunQueue()
    queue.open()
    file.write_text("100 900 2\n")
    assert (queue.waited(), queue.waited()) == (650, 0)
    queue.close()
    queue.close()
    assert queue.waited() == 0


def test_where_nobody_counts_it_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(run_queue, "_FILE", os.fspath(tmp_path / "none"))
    queue = run_queue.RunQueue()
    queue.open()
    assert queue.waited() == 0


class Strides(Steps):
    """Goes on by 0.3 ms with every look at it."""

    def now(self):
        return super().now() * 300_000


def test_the_recorder_asks_after_what_took_long():
    recorder = Recorder(Strides())
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    recorder.install([("", model)])
    try:
        recorder.run_queue.waited = lambda: 200_000
        model(torch.zeros(1))
    finally:
        recorder.uninstall()
    replay = Replay(recorder, [])
    ends = [one.start_ns + one.duration_ns for one in replay.functions]
    # also where the model is called, a look at the clock before it has begun
    called = replay.calls[0].start_ns - 300_000
    begins = sorted([-replay.before_ns, called, *ends])
    assert [(one.start_ns, one.end_ns) for one in replay.waits.waiting] == [
        *pairwise(begins)
    ]
    assert {one.waited_ns for one in replay.waits.waiting} == {200_000}


def queue_of(waits):
    """A queue that says these, one each time it is asked."""
    queue, waits = run_queue.RunQueue(), iter(waits)
    queue._since = lambda: next(waits)
    return queue


def test_what_was_waited_before_a_pause_is_noted_and_in_it_not():
    queue = queue_of([8 * MS, 5 * MS, MS])
    queue.hold()
    queue.skip()
    assert queue.waited() == 9 * MS


class ByHand:
    """Shows what it is told."""

    at = 0

    def now(self):
        return self.at

    def resolve(self, stamps):
        return list(stamps)


def test_a_pause_asks_only_after_what_took_long():
    reading, asked = ByHand(), []
    clock = PausingClock(reading)
    clock.before_pause = lambda: asked.append("before")
    clock.after_pause = lambda: asked.append("after")
    for working, pausing in ((100_000, 100_000), (300_000, 100_000), (100_000, MS)):
        reading.at += working
        clock.pause()
        reading.at += pausing
        clock.go_on()
    assert asked == ["before", "after"]
    assert clock.now() == 500_000


def test_what_was_waited_before_the_first_call_is_not_in_it():
    """The call is longer than what lies before it, and it has no function."""
    clock = ByHand()
    recorder = Recorder(clock)
    model = nn.Identity()
    recorder.install([("", model)])
    try:
        recorder.run_queue._since = iter([8 * MS, 0]).__next__
        clock.at = 9 * MS
        model.register_forward_pre_hook(lambda *_: setattr(clock, "at", 39 * MS))
        model(torch.zeros(1)).abs()
    finally:
        recorder.uninstall()
    replay = Replay(recorder, [])
    (wait,) = replay.waits.waiting
    assert (wait.end_ns - wait.start_ns, wait.waited_ns) == (9 * MS, 8 * MS)
    assert wait.end_ns == replay.calls[0].start_ns
