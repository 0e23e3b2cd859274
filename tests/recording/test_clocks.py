"""Accelerator times: the logic under a fake accelerator, and the real one on a GPU."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.recording.clocks import CpuClock, NoClock, PausingClock, TorchEvents
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.extensions.cell import Cell
from shapetrace.recording.extensions.device import (
    DeviceTimer,
    HookEnds,
    accelerators,
)

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")


class FakeEvents:
    """Marks are numbers that only a synchronisation makes readable."""

    def __init__(self):
        self.time = 0
        self.idle = False
        self.capturing = False
        self.synchronized = []

    def stream(self, device):
        return None if self.capturing else device

    def mark(self, stream):
        self.time += 10
        return stream, self.time

    def is_idle(self, stream):
        return self.idle

    def elapsed_ns(self, start, end):
        assert start[0] == end[0], "marks of two devices have no common time"
        assert start[0] in self.synchronized, "read before the device was done"
        return end[1] - start[1]

    def synchronize(self, device):
        self.synchronized.append(device)


class On:
    """As much of a tensor as the timer looks at: there is no accelerator here."""

    def __init__(self, device):
        self.device = device


def timed(*calls, events=None):
    """Fields of nested calls; a call is `(inputs' devices, outputs' devices)`."""
    events = events or FakeEvents()
    timer = DeviceTimer(events)
    modules = [nn.Identity() for _ in calls]
    cells = []
    for module, (inputs, _) in zip(modules, calls, strict=True):
        cells.append(Cell(id(module), cells[-1] if cells else None))
        timer.enter(cells[-1], module, [On(one) for one in inputs])
        timer.begins(cells[-1])
    for cell, (_, outputs) in reversed(list(zip(cells, calls, strict=True))):
        timer.ended(cell)
        timer.leave(cell, [On(one) for one in outputs])
    assert events.synchronized == [], "nothing may wait inside the trace"
    timer.finish(cells)
    return [cell.fields.get("device_ns") for cell in cells], events, timer


def test_a_call_lasts_from_its_entry_to_its_end_on_the_outputs_device():
    times, events, _ = timed(([FIRST], [FIRST]), ([FIRST], [FIRST]))
    assert times == [30, 10]
    assert events.synchronized == [FIRST]


def test_each_device_is_timed_on_its_own_and_waited_for_once():
    times, events, _ = timed(
        ([FIRST, SECOND], [SECOND]), ([FIRST], [FIRST]), ([SECOND], [SECOND])
    )
    assert None not in times
    assert sorted(events.synchronized, key=str) == [FIRST, SECOND]


def test_a_model_that_moves_its_input_itself_begins_with_its_first_part():
    cpu = torch.device("cpu")
    times, _, _ = timed(([cpu], [FIRST]), ([FIRST], [FIRST]))
    assert times == [20, 10]


def test_on_the_processor_there_is_no_device_time():
    cpu = torch.device("cpu")
    times, events, _ = timed(([cpu], [cpu]))
    assert times == [None] and events.time == 0


def test_while_a_graph_is_captured_no_time_is_claimed():
    events = FakeEvents()
    events.capturing = True
    times, _, timer = timed(([FIRST], [FIRST]), events=events)
    assert times == [None] and timer.unmarked == 1


def test_a_call_that_raised_has_no_device_time():
    assert timed(([FIRST], []))[0] == [None]


class Hooked:
    """A timer, its last extension and a clock, told what a trace tells them."""

    def __init__(self):
        self.events, self.now = FakeEvents(), 0
        self.timer = DeviceTimer(self.events, lambda: self.now)
        self.end = HookEnds(self.timer)
        self.module, self.inputs = nn.Identity(), [On(FIRST)]

    def call(self, parent=None, *, inside=lambda cell: None, took=4, idle=False):
        """One call whose hooks take so long; inside of it something else happens."""
        cell = Cell(id(self.module), parent)
        self.events.idle = idle
        self.timer.enter(cell, self.module, self.inputs)
        self.now += took
        self.timer.begins(cell)
        inside(cell)
        self.timer.ended(cell)
        self.now += took
        self.timer.leave(cell, self.inputs)
        self.end.leave(cell, self.inputs)
        return cell


@pytest.mark.parametrize("idle, expected", [(False, 30), (True, 30 - 2 * 4)])
def test_what_an_idle_device_waits_for_the_hooks_inside_is_not_its_time(idle, expected):
    hooked, inner = Hooked(), []
    cell = hooked.call(
        inside=lambda cell: inner.append(hooked.call(cell, idle=idle)), idle=idle
    )
    hooked.timer.finish([])
    assert cell.fields["device_ns"] == expected
    assert inner[0].fields["device_ns"] == 10, "its own hooks are not between its marks"


def test_a_device_that_ran_dry_in_a_hook_waited_for_half_of_it():
    hooked = Hooked()

    def made(cell):
        hooked.events.idle = False
        hooked.timer.made(cell, None, [], hooked.inputs)
        hooked.now += 6
        hooked.events.idle = True
        hooked.end.made(cell, None, [], hooked.inputs)
        hooked.events.idle = False

    cell = hooked.call(inside=made)
    hooked.timer.finish([])
    assert cell.fields["device_ns"] == 10 - 6 // 2


def test_hooks_of_another_thread_are_not_this_ones():
    hooked = Hooked()

    def elsewhere(cell):
        hooked.events.idle = True
        thread = threading.Thread(target=hooked.timer.hook_ends)
        hooked.now += 5
        thread.start()
        thread.join()

    cell = hooked.call(inside=elsewhere)
    hooked.timer.finish([])
    assert cell.fields["device_ns"] == 10


def test_accelerators_are_neither_the_processor_nor_meta():
    devices = {torch.device("cpu"), torch.device("meta"), SECOND, FIRST}
    assert accelerators(devices) == [FIRST, SECOND]


def test_an_extension_that_fails_is_left_out_and_the_report_says_so():
    class Broken(FakeEvents):
        def is_idle(self, stream):
            raise RuntimeError("no such event")

    extensions = Extensions([DeviceTimer(Broken())], PausingClock(CpuClock()))
    model = nn.Identity()
    model.register_buffer("elsewhere", None)
    model._buffers["elsewhere"] = On(FIRST)
    extensions.enter(model, ())
    extensions.leave(model, None)
    assert extensions.extensions == []
    assert extensions.faults[0][0] == "device times"


def test_the_processors_clock_goes_forward_and_no_clock_stands_still():
    first, second = CpuClock.now(), CpuClock.now()
    assert CpuClock().resolve([first, second]) == [first, second] and first <= second
    assert NoClock().resolve([NoClock.now(), NoClock.now()]) == [0, 0]


gpu = pytest.mark.skipif(
    not torch.accelerator.is_available(), reason="needs an accelerator"
)


@pytest.mark.gpu
@gpu
def test_device_times_are_those_of_events_around_the_call():
    device = torch.accelerator.current_accelerator()
    model = nn.Sequential(*[nn.Linear(2048, 2048) for _ in range(8)]).to(device)
    x = torch.randn(2048, 2048, device=device)
    model(x)
    events = TorchEvents()
    stream = events.stream(x.device)
    start = events.mark(stream)
    model(x)
    end = events.mark(stream)
    events.synchronize(x.device)
    with shapetrace.trace(model) as t:
        model(x)
    expected = events.elapsed_ns(start, end)
    assert t.calls[0].device_ns == pytest.approx(expected, rel=0.5)
    assert sum(call.device_ns for call in t.calls[1:]) <= t.calls[0].device_ns


@pytest.mark.gpu
@gpu
def test_the_traced_peak_is_the_allocators():
    device = torch.accelerator.current_accelerator()
    model = nn.Sequential(nn.Linear(512, 4096), nn.GELU(), nn.Linear(4096, 512))
    model.to(device)
    x = torch.randn(4096, 512, device=device)
    torch.accelerator.reset_peak_memory_stats()
    with shapetrace.trace(model, memory=True) as t:
        model(x).sum().backward()
    assert t.recording.allocated_peak == torch.accelerator.max_memory_allocated()
