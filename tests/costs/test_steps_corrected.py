"""Steps and lines without what the tracer itself took, by figures made up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import shapetrace
from shapetrace.costs import costs
from shapetrace.costs.lines import by_line
from shapetrace.costs.phases import steps
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    Overhead,
    Range,
    Recording,
    Source,
)


def span(start, end):
    return Range("Optimizer.step#X.step", start, end - start, None)


def function(at, name, start, end, parent=None):
    return FunctionCall(at, parent, name, name, (), (), start, end - start)


def recording(calls, functions, span, overhead):
    return Recording(calls, tuple(functions), {}, {}, ranges=(span,), overhead=overhead)


OWN = Overhead(
    module=0, module_inside=0, function=100_000, function_inside=0, attribute=10_000
)


@pytest.mark.parametrize(("cost", "left"), [(OWN, 580), (None, 1000)])
def test_a_step_is_told_without_what_the_tracer_took_of_it(cost, left):
    """Around each of three functions it took 100 unseen, 20 seen, and 10 for each of
    two attributes: of the optimizer's 1000 that is 420, of a lone function's gap 140;
    in the forward it took 100 around a function and 300 that were seen."""
    functions = [
        function(at, "add_", 1010 + 300 * at, 1060 + 300 * at) for at in (0, 1)
    ]
    functions += [function(2, "add_", 1800, 1850), function(3, "mul", 900, 950)]
    functions += [function(4, "mul", 100, 200, parent=0)]
    for one in functions:
        one.start_ns, one.duration_ns = one.start_ns * 1000, one.duration_ns * 1000
        if one.parent is None:
            one.tracer_ns, one.attribute_reads = 20_000, 2
    inside = ModuleCall(0, None, 0, "", "M", (), (), 0, 700_000)
    inside.self_ns, inside.tracer_ns = inside.duration_ns, 300_000
    step = span(1_000_000, 2_000_000)
    rec = recording((inside,), functions, step, cost)
    (found,) = steps(rec)
    phases = {name: time // 1000 for name, time in found.phases.items()}
    taken = bool(cost)
    assert phases == {
        "forward": 700 - 400 * taken,
        "loss": 0,
        "optimizer": left,
        "rest": 300 - 140 * taken,
    }
    assert found.duration_ns == sum(found.phases.values())
    assert found.duration_ns + found.tracer_ns == 2_000_000
    told = "without the tracer's own cost of about 0.96 ms"
    assert (told in str(steps(rec))) == taken


@pytest.mark.parametrize("cost", [OWN, None])
def test_lines_are_told_without_what_the_tracer_took_of_them(cost):
    """Of the optimizer's 1000 two functions are 50 each, and around each of them the
    tracer took 140, of which it was seen to take 20; in the module 300 of 700 were
    seen, and 100 were not."""
    functions = [function(at, "add_", 10 + 300 * at, 60 + 300 * at) for at in (0, 1)]
    functions.append(function(2, "mul", 1100, 1200, parent=0))
    for one in functions:
        one.start_ns, one.duration_ns = one.start_ns * 1000, one.duration_ns * 1000
        one.source = Source("train.py", 1 + one.index)
        if one.parent is None:
            one.tracer_ns, one.attribute_reads = 20_000, 2
    inside = ModuleCall(0, None, 0, "", "M", (), (), 1_050_000, 700_000)
    inside.self_ns, inside.tracer_ns = inside.duration_ns, 300_000
    inside.source = Source("train.py", 9)
    step = replace(span(0, 1_000_000), source=Source("train.py", 8))
    rec = recording((inside,), functions, step, cost)
    found = {
        line.source.line: line.time_ns // 1000 for line in by_line(rec, costs(rec))
    }
    taken = bool(cost)
    optimizers, models = 900 - 280 * taken, 600 - 400 * taken
    assert found == {1: 50, 2: 50, 3: 100, 8: optimizers, 9: models}


def test_a_phase_is_no_less_than_its_functions():
    functions = [function(at, "add_", 100 * at, 100 * at + 60) for at in range(3)]
    rec = recording((), functions, span(0, 300), OWN)
    (found,) = steps(rec)
    assert found.phases["optimizer"] == 3 * 60


def test_what_is_read_outside_of_modules_is_noted_with_the_next_function():
    with shapetrace.trace() as t:
        x = torch.ones(2)
        assert x.shape == (2,) and x.ndim == 1
        y = x + 1
        y.neg_()
    reads = {call.name: call.attribute_reads for call in t.functions}
    assert reads == {"ones": 0, "add": 2, "neg_": 0}
