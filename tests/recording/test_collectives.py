"""Handles of asynchronous collectives: when they are done, and who waits for them."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.overrides import handle_torch_function, has_torch_function

import shapetrace

pytestmark = pytest.mark.skipif(
    not dist.is_available(), reason="torch without torch.distributed"
)

#: a handle of torch's own that nobody ever completes gives up after so long
PATIENCE = timedelta(milliseconds=200)


def launch(x, kind=dist.Work):
    """As a collective: it gives a handle, and modes see it."""
    if has_torch_function((x,)):
        return handle_torch_function(launch, (x,), x, kind)
    return kind()


def give_up(work):
    with suppress(RuntimeError):
        work.wait(PATIENCE)


class Kept:
    def __init__(self, work):
        self.work = work

    def finish(self):
        with suppress(RuntimeError):
            self.work.wait(PATIENCE)


def in_a_loop(x):
    for work in [launch(x)]:
        with suppress(RuntimeError):
            work.wait(PATIENCE)


def in_a_dict(x):
    works = {"a": launch(x)}
    with suppress(RuntimeError):
        [works[key].wait(PATIENCE) for key in works]


def in_an_attribute(x):
    Kept(launch(x)).finish()


@pytest.mark.parametrize("program", [in_a_loop, in_a_dict, in_an_attribute])
def test_the_line_that_waits_is_told_wherever_the_handle_is_kept(program):
    with shapetrace.trace() as t:
        program(torch.ones(2))
    rec = t.recording
    (flight,) = rec.in_flight
    assert rec.functions[flight.function].name == "launch"
    assert {os.path.basename(one.source.file) for one in rec.blocked} == {
        os.path.basename(__file__)
    }
    (line,) = {one.source.line for one in rec.blocked}
    with open(__file__) as file:
        assert ".wait(PATIENCE)" in file.read().splitlines()[line - 1]
    waited = sum(one.end_ns - one.start_ns for one in rec.blocked)
    assert 150e6 < waited <= rec.duration_ns
    assert all(one.start_ns < flight.over_ns for one in rec.blocked)


def test_what_is_no_wait_is_none():
    """Torch computes while one is on its way, in code that waits elsewhere."""
    done = threading.Event()
    with shapetrace.trace() as t:
        work = launch(torch.ones(2))
        done.wait(0.05)
        torch.ones(400, 400) @ torch.ones(400, 400)
    assert t.recording.blocked == () and not work.is_completed()


@pytest.mark.parametrize(
    "program", ["kept", "let go", "of the user's own", "elsewhere"]
)
def test_nothing_is_left_and_no_handle_is_kept_alive(program):
    class Own(dist.Work):
        def is_completed(self):
            raise AssertionError("this may do anything")

    before = threading.active_count(), len(sys._current_frames())
    device = "meta" if program == "elsewhere" else "cpu"
    with shapetrace.trace() as t:
        kind = Own if program == "of the user's own" else dist.Work
        kept = [launch(torch.ones(2, device=device), kind)]
        if program == "let go":
            kept.clear()
            threading.Event().wait(0.05)
    assert (threading.active_count(), len(sys._current_frames())) == before
    assert len(t.recording.in_flight) == (program in ("kept", "let go"))
    if program == "let go":
        (flight,) = t.recording.in_flight
        assert flight.over_ns < t.recording.duration_ns - 20e6
    assert not [note for note in t.recording.notes if "incomplete" in note]


def test_it_survives_a_file_and_the_leaving_out_of_the_first_step(tmp_path):
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters())
    with shapetrace.trace(layer, checks=False) as t:
        for _ in range(2):
            layer(torch.ones(2, 2)).sum().backward()
            give_up(launch(torch.ones(2)))
            optimizer.step()
    t.to_json(tmp_path / "t.json")
    assert shapetrace.load(tmp_path / "t.json").recording == t.recording
    warm = t.warm().recording
    (flight,) = warm.in_flight
    assert warm.functions[flight.function].name == "launch"
    assert 0 < len(warm.blocked) < len(t.recording.blocked) + 1
    assert all(0 <= one.start_ns <= warm.duration_ns for one in warm.blocked)
