"""How far a corrected time may be off: what was not measured is in the range."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.costs import costs
from shapetrace.records import Overhead


@pytest.mark.parametrize(("between", "off"), [(1000, 100), (3000, 800)])
def test_a_bare_layer_may_be_as_warm_as_in_a_loop(between, off):
    """Of a layer's 1000 between functions the tracer takes 600 in a warm loop. Where it
    is three times as dear, 1200 are the layer's if that is as cold, and 400 if it is
    not; a quarter is the least that may be wrong."""
    model = nn.Sequential(nn.Tanh(), nn.Tanh())
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 3))
    took = tuple(replace(one, duration_ns=100) for one in t.functions)
    whole = between + 100
    calls = tuple(
        replace(one, duration_ns=time, self_ns=own, tracer_ns=0)
        for one, time, own in zip(
            t.calls, (2 * whole, whole, whole), (0, whole, whole), strict=True
        )
    )
    cost = Overhead(600, module_inside=600, function=0, function_inside=0,
                    layer_bare=400)  # fmt: skip
    rec = replace(t.recording, calls=calls, functions=took, waiting=(), overhead=cost)
    layer = costs(rec).calls[1]
    assert layer.corrected_ns == between * 4 // 10 + 100
    assert layer.uncertain_ns == off
