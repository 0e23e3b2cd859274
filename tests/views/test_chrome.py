"""The Chrome trace is valid trace-event JSON whose slices nest."""

from __future__ import annotations

import json
from collections import defaultdict
from fractions import Fraction
from threading import Thread

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.errors import ReportError, UsageError
from shapetrace.records import (
    CallError,
    FunctionCall,
    ModuleCall,
    Range,
    Recording,
)
from shapetrace.views.chrome import dumps

PHASES = {"X": {"ts", "dur", "args", "cat"}, "M": {"args"}, "C": {"ts", "args"}}


def written(t, tmp_path):
    t.to_chrome_trace(tmp_path / "trace.json")
    return json.loads((tmp_path / "trace.json").read_text())


def check_format(document):
    """What the format asks of the events that are written."""
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    for event in document["traceEvents"]:
        assert PHASES[event["ph"]] <= set(event)
        assert isinstance(event["name"], str) and event["name"]
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert event["ts"] >= 0 and event.get("dur", 0) >= 0
        assert isinstance(event.get("args", {}), dict)


def check_nesting(document):
    """On each thread a slice lies inside or outside another, never across its end."""
    lines = defaultdict(list)
    for event in document["traceEvents"]:
        if event["ph"] == "X":
            start = round(Fraction(str(event["ts"])) * 1000)
            end = start + round(Fraction(str(event["dur"])) * 1000)
            lines[event["pid"], event["tid"]].append((start, end))
    assert lines
    for slices in lines.values():
        assert slices == sorted(slices, key=lambda one: (one[0], -one[1]))
        open_ = []
        for start, end in slices:
            while open_ and open_[-1] <= start:
                open_.pop()
            assert not open_ or end <= open_[-1]
            open_.append(end)


def test_modules_and_functions_are_nested_slices_with_shapes(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    with shapetrace.trace(model, memory=True) as t:
        for _ in range(3):
            model(torch.randn(2, 4)).sum().backward()
    document = written(t, tmp_path)
    check_format(document)
    check_nesting(document)
    named = {event["name"]: event for event in document["traceEvents"]}
    assert named["1.1 (Linear)"]["args"]["inputs"] == ["args[0]: 2x3 float32"]
    assert named["linear"]["cat"] == "function"
    assert named["bytes held"]["ph"] == "C"


def test_a_failed_call_says_so_and_still_nests(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.randn(2, 4))
    document = written(t, tmp_path)
    check_nesting(document)
    failed = [e for e in document["traceEvents"] if "error" in e.get("args", {})]
    assert {event["name"] for event in failed} >= {"1 (Linear)", "linear"}


def test_threads_have_lines_of_their_own(tmp_path):
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 4))
        thread = Thread(target=model, args=(torch.randn(2, 4),))
        thread.start()
        thread.join()
    document = written(t, tmp_path)
    check_nesting(document)
    slices = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert {event["tid"] for event in slices} == {0, 1}


def test_an_untimed_trace_is_refused(tmp_path):
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, timing=False) as t:
        model(torch.randn(2, 4))
    with pytest.raises(UsageError, match="timing=False"):
        t.to_chrome_trace(tmp_path / "trace.json")


def test_a_missing_folder_is_a_report_error(tmp_path):
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 4))
    with pytest.raises(ReportError, match="makedirs"):
        t.to_chrome_trace(tmp_path / "none" / "trace.json")


def test_of_slices_that_begin_together_the_outer_comes_first():
    calls = (
        ModuleCall(0, None, 0, "", "Net", (), (), duration_ns=9),
        ModuleCall(1, 0, 1, "a", "Linear", (), (), duration_ns=5),
    )
    function = FunctionCall(0, 1, "linear", "torch.linear", (), (), duration_ns=3)
    text = dumps(Recording(calls, (function,), {}, {}))
    made = json.loads(text)["traceEvents"]
    slices = [event["name"] for event in made if event["ph"] == "X"]
    assert slices == ["Net", "a (Linear)", "linear"]


def test_names_and_messages_of_any_kind_are_written_as_json():
    odd = 'a"b\\c\n\u2028é'
    error = CallError("ValueError", odd)
    calls = (ModuleCall(0, None, 0, odd, 'M"', (), None, 5, 10, 10, error=error),)
    ranges = (Range(odd, 6, 2),)
    document = json.loads(dumps(Recording(calls, (), {}, {}, ranges=ranges)))
    made = {event["cat"]: event for event in document["traceEvents"] if "cat" in event}
    assert made["module"]["name"] == f'{odd} (M")'
    assert made["module"]["args"]["error"] == f"ValueError: {odd}"
    assert made["range"]["name"] == odd and made["range"]["dur"] == 0.002
