"""What an accelerator's allocator tells, under a fake one; the real one on a GPU."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

import shapetrace
from shapetrace.costs import memory, memory_for
from shapetrace.recording.clocks import CpuClock, PausingClock
from shapetrace.recording.extensions.allocator import AllocatorWatch
from shapetrace.recording.extensions.base import Extensions
from shapetrace.recording.extensions.memory import MemoryWatch


def test_an_allocators_growth_is_told_by_call_and_its_peak_by_batch():
    class Fake:
        held, most = 100, 150

        def allocated(self):
            return self.held

        def peak(self):
            return self.most

    allocator = Fake()
    watch = AllocatorWatch(allocator, lambda: 90)
    extensions = Extensions([watch], PausingClock(CpuClock()))
    model = nn.Identity()
    extensions.enter(model, ())
    allocator.held, allocator.most = 130, 190
    extensions.leave(model, None)
    extensions.finish()
    assert extensions.cells[0].fields == {"allocated_bytes": 30}
    assert watch.highest == 190 and watch.other == 40


def test_a_peak_from_before_the_batch_is_not_claimed():
    class Fake:
        def allocated(self):
            return 0

        def peak(self):
            return 500

    watch = AllocatorWatch(Fake(), lambda: 7)
    watch.finish([])
    assert watch.highest is None and watch.other == 0


def test_all_that_is_watched_is_known_to_the_bytes():
    x = torch.ones(3, 4)
    model = nn.Linear(4, 2)
    watch = MemoryWatch(lambda *held: None, PausingClock(CpuClock()))
    extensions = Extensions([watch], PausingClock(CpuClock()))
    extensions.attach(model)
    extensions.enter(model, (x,))
    made = model(x)
    extensions.leave(model, made)
    assert watch.known_bytes() == 4 * (8 + 2 + 12 + 6)
    del made
    assert watch.known_bytes() == 4 * (8 + 2 + 12)


def test_what_else_an_accelerator_holds_is_in_the_sum_and_in_what_a_batch_needs():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(model, memory=True) as t:
        model(torch.ones(3, 4)).sum().backward()
    alone, rec = t.memory(), t.recording
    assert "other" not in str(alone)
    beside = replace(rec, allocated_other=1000)
    assert memory(beside, t.costs).total == alone.total + 1000
    assert str(memory(beside, t.costs)).splitlines()[-1].split() == ["other", "1", "kB"]
    need = (
        memory_for(6, [(beside, t.costs)]).bytes - memory_for(6, [(rec, t.costs)]).bytes
    )
    assert need == 1000
