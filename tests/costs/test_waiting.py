"""What the thread waited for a processor: in which call, and in no corrected time."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from stepping import Steps
from torch import nn

import shapetrace
from shapetrace.costs import costs, steps
from shapetrace.costs.lines import by_line
from shapetrace.costs.waiting import waits
from shapetrace.recording import run_queue
from shapetrace.recording.build import Replay
from shapetrace.recording.clocks import PausingClock
from shapetrace.recording.recorder import Recorder
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    Overhead,
    Range,
    Recording,
    Source,
    Waiting,
)
from shapetrace.views.summary import by_module

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


def test_a_wait_of_the_loader_is_in_no_time_of_its_line():
    """Before its 5 ms, of which 4 are waited, the loop does 4 ms of its own."""
    rec = recorded()
    place = Source("train.py", 3)
    late = [replace(call, start_ns=call.start_ns + 9 * MS) for call in rec.calls]
    later = [replace(one, start_ns=one.start_ns + 9 * MS) for one in rec.functions]
    loads = Range("enumerate(DataLoader)#One", 4 * MS, 5 * MS, place)
    rec = replace(
        rec, calls=tuple(late), functions=tuple(later), ranges=(loads,),
        waiting=(Waiting(0, 9 * MS, 4 * MS),), duration_ns=rec.duration_ns + 9 * MS,
    )  # fmt: skip
    (line,) = [one for one in by_line(rec, costs(rec)) if one.source == place]
    assert (line.time_ns, steps(rec)[0].phases["data"]) == (MS, MS)


def test_a_first_batch_that_waited_is_not_cold():
    rec = recorded(Waiting(0, 9 * MS, 8 * MS), first=9 * MS, second=MS)
    calls = [replace(call, parent=None, name="") for call in rec.calls[1:]]
    calls = [replace(call, index=at) for at, call in enumerate(calls)]
    functions = [replace(one, parent=one.index) for one in rec.functions]
    rec = replace(rec, calls=tuple(calls), functions=tuple(functions))

    def said(rec):
        return by_module(rec, costs(rec), steps(rec), 160)

    assert "cold" not in said(rec)
    assert "was cold: 9.00 ms against 1.00 ms" in said(replace(rec, waiting=()))


def test_the_queue_says_what_came_since_it_was_last_asked(tmp_path, monkeypatch):
    file = tmp_path / "schedstat"
    file.write_text("100 250 1\n")
    monkeypatch.setattr(run_queue, "_FILE", os.fspath(file))
    queue = run_queue.RunQueue()
    queue.open()
    file.write_text("100 900 2\n")
    assert (queue.waited(MS), queue.waited(MS)) == (650, 0)
    queue.close()
    queue.close()
    assert queue.waited(MS) == 0


def test_where_nobody_counts_it_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(run_queue, "_FILE", os.fspath(tmp_path / "none"))
    queue = run_queue.RunQueue()
    queue.open()
    assert queue.waited(MS) == 0


class Strides(Steps):
    """Goes on by 0.3 ms with every look at it."""

    def now(self):
        return super().now() * 300_000


def test_the_recorder_asks_after_what_took_long():
    recorder = Recorder(Strides())
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    recorder.install([("", model)])
    try:
        recorder.run_queue.waited = lambda lasted: 200_000
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


def test_what_was_waited_in_a_pause_is_in_no_time():
    queue = queue_of([5 * MS, MS])
    queue.skip(6 * MS)
    assert queue.waited(9 * MS) == MS


def test_what_was_waited_while_a_pause_began_is_in_no_time():
    queue = queue_of([8 * MS, 0, MS])
    assert queue.waited(300_000) == 0
    queue.skip(9 * MS)
    assert queue.waited(9 * MS) == MS


def test_what_is_longer_than_a_stretch_was_waited_after_it():
    """While the queue was asked, when the next stretch had begun."""
    queue = queue_of([8 * MS, MS, 0])
    assert queue.waited(300_000) == 0
    assert queue.waited(9 * MS) == 9 * MS
    assert queue.waited(9 * MS) == 0


def test_what_is_longer_than_a_pause_was_waited_after_it():
    queue = queue_of([8 * MS, 0])
    queue.skip(300_000)
    assert queue.waited(9 * MS) == 8 * MS


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
    clock.before_pause = lambda *stretch: asked.append(stretch)
    clock.after_pause = asked.append
    for working, pausing in ((100_000, 100_000), (300_000, 100_000), (100_000, MS)):
        reading.at += working
        clock.pause()
        reading.at += pausing
        clock.go_on()
    assert asked == [(100_000, 400_000), MS]
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


def test_what_was_waited_before_a_backward_is_not_in_it():
    """The backward is longer than what lies before it."""
    clock = ByHand()
    recorder = Recorder(clock)
    x = torch.zeros(1, requires_grad=True)
    x.register_hook(lambda _: setattr(clock, "at", 49 * MS))
    recorder.install([])
    try:
        y = x * 2
        recorder.run_queue._since = iter([18 * MS, 0]).__next__
        clock.at = 19 * MS
        y.backward()
    finally:
        recorder.uninstall()
    (wait,) = Replay(recorder, []).waits.waiting
    assert (wait.start_ns, wait.end_ns, wait.waited_ns) == (0, 19 * MS, 18 * MS)


def test_a_wait_is_in_no_backward_of_a_module():
    """Each node of the backward takes 8 ms, of which the second one's are waited; so
    does the loop before the backward."""
    clock = ByHand()
    model = nn.Sequential(nn.Sigmoid(), nn.Tanh())
    waited = iter([6 * MS, 0, 0, 7 * MS])
    x = torch.zeros(1, requires_grad=True)
    with shapetrace.Trace([model], clock, backward=True, memory=True) as t:
        y = model(x)
        nodes = y.grad_fn, y.grad_fn.next_functions[0][0]
        for node, at in zip(nodes, (16 * MS, 24 * MS), strict=True):
            node.register_hook(lambda *_, at=at: setattr(clock, "at", at))
        queue = t._readout.selection._recorder.run_queue
        queue._since = lambda: next(waited, 0)
        clock.at = 8 * MS
        y.backward()
    assert [one.waited_ns for one in t.recording.waiting] == [6 * MS, 7 * MS]
    _, sigmoid, tanh = t.calls
    assert (tanh.backward_ns, sigmoid.backward_ns) == (8 * MS, MS)
    found = waits(t.recording)
    assert [one.function for one in found] == [None, t.functions[-1].index]
