"""Times on an accelerator that waited for the processor, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.costs.device_times import on_device
from shapetrace.costs.times import Corrected, Times

#: of a Sequential and its three layers: corrected own times of the processor
CPU = [2, 30, 40, 50]


def told(device, idle, **options):
    """Total and own time there, of calls that took `device` there as measured."""
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with shapetrace.trace(model, checks=False, **options) as t:
        model(torch.ones(2, 4)).sum().backward()
    calls = [
        replace(call, device_ns=ns, device_idle=at in idle)
        for at, (call, ns) in enumerate(zip(t.calls, device, strict=True))
    ]
    rec = replace(t.recording, calls=tuple(calls))
    times = Times([Corrected(own, own, 0) for own in CPU], [], [], [])
    return [tuple(one) for one in on_device(rec, times)]


def test_a_busy_accelerator_takes_what_was_measured():
    found = told([1000, 300, 200, 400], idle=[])
    assert found == [(1000, 100), (300, 300), (200, 200), (400, 400)]


def test_an_idle_one_takes_no_longer_than_the_processor_for_each_call_itself():
    found = told([1000, 300, 20, 400], idle=[0, 1, 2, 3])
    assert found == [(2 + 30 + 20 + 50, 2), (30, 30), (20, 20), (50, 50)]


@pytest.mark.parametrize("option", ["memory", "backward"])
def test_what_options_hide_is_not_taken_off(option):
    found = told([1000, 300, 200, 400], idle=[0, 1, 2, 3], **{option: True})
    assert found == [(1000, 100), (300, 300), (200, 200), (400, 400)]


def test_a_part_of_the_calls_waited():
    found = told([1000, 300, None, 400], idle=[1])
    assert found == [(300 + 30 + 400, 300), (30, 30), (None, None), (400, 400)]
