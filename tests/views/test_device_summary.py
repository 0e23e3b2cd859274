"""The summary of a recording that has times of an accelerator."""

from dataclasses import replace

import torch
from torch import nn

import shapetrace
from shapetrace.costs import costs, steps
from shapetrace.views.summary import by_module


def on_accelerator(model, times, idle=()):
    """The text of one batch whose calls took so long there, in milliseconds; `idle`
    are those after which there was nothing left to do."""
    with shapetrace.trace(model, checks=False) as t:
        model(torch.ones(2, 4))
    rec = t.recording
    calls = [
        replace(
            call,
            device_ns=None if ms is None else round(ms * 1e6),
            device_idle=call.index in idle,
        )
        for call, ms in zip(rec.calls, times, strict=True)
    ]
    rec = replace(rec, calls=tuple(calls))
    return by_module(rec, costs(rec), steps(rec), 160)


def rows(text):
    lines = [line.split() for line in text.splitlines()]
    at = next(i for i, line in enumerate(lines) if line[:1] == ["module"])
    return lines[at + 2 :]


def test_the_slowest_on_the_accelerator_comes_first():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    text = on_accelerator(model, [10.5, 1.0, 2.5, 5.5])
    assert "device self  device  device ms" in text
    found = [line[0] for line in rows(text)[:4]]
    assert found == ["model.2", "model.1", "model", "model.0"]
    by_name = {line[0]: line for line in rows(text)[:4]}
    assert by_name["model.2"][3:6] == ["5.500", "52.4%", "5.50"]
    # what the model itself did there between its parts
    assert by_name["model"][3:6] == ["1.500", "14.3%", "10.50"]


def test_what_ran_on_the_processor_has_no_time_there():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    text = on_accelerator(model, [3.0, None, 2.0])
    by_name = {line[0]: line for line in rows(text)[:3]}
    assert by_name["model.1"][3:6] == ["2.000", "66.7%", "2.000"]
    assert "2.000" not in by_name["model.0"]


def test_without_an_accelerator_nothing_is_said_of_it():
    text = on_accelerator(nn.Sequential(nn.Linear(4, 4)), [None, None])
    assert "device" not in text


def test_an_accelerator_that_waits_is_told_of():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    said = "the accelerator had nothing left to do"
    times = [10.5, 1.0, 2.5, 5.5]
    waiting = on_accelerator(model, times, idle=[1, 2])
    assert f"At the end of 50% of the calls {said}" in " ".join(waiting.split())
    assert said not in " ".join(on_accelerator(model, times).split())
    # a call that ran on the processor says nothing of it
    few = on_accelerator(model, [10.5, None, 2.5, 5.5], idle=[1])
    assert said not in " ".join(few.split())
