"""Threads that were at work are told by the processor time that Linux counts."""

import os
import sys
import threading
import time

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.recording.other_threads import Clocks, OtherThreads

OWN = threading.get_native_id()
MS = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="it counts threads' time")


def told(process, *threads, children=0.0, reading=0):
    """Of what ran in a block; `threads` are pairs of before and after. To read takes
    the time of the process too, each time."""
    before = {number: a for number, a, _ in threads if a is not None}
    after = {number: b for number, _, b in threads}
    began = Clocks(5 * MS - reading, before, 1.0, 5 * MS)
    ended = Clocks(process, after, 1.0 + children, process + reading)
    read = iter([began, ended])
    looking = OtherThreads(lambda: next(read))
    looking.open()
    looking.close()
    looking.close()
    return looking.names


@pytest.fixture
def other():
    """A Python thread that waits."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="reader")
    thread.start()
    yield thread.native_id
    done.set()
    thread.join()


def test_what_the_tracing_thread_and_those_of_libraries_ran_is_no_other_work():
    assert told(105 * MS, (OWN, 5 * MS, 65 * MS), (1, 0, 40 * MS)) == []


def test_what_is_missing_of_the_process_ran_in_threads_that_ended():
    assert told(105 * MS, (OWN, 5 * MS, 99 * MS)) == ["threads that ended"]
    assert told(105 * MS, (OWN, 5 * MS, 101 * MS)) == []  # less than a twentieth


def test_clocks_that_are_read_one_after_the_other_are_no_thread():
    assert told(5_200_000, (OWN, 5 * MS, 5_151_000)) == []
    assert told(5_200_000, (OWN, 5 * MS, 5_149_000)) == ["threads that ended"]


def test_what_reading_the_clocks_takes_is_no_thread():
    assert told(5_200_000, (OWN, 5 * MS, 5_180_000), reading=MS) == []


def test_what_fed_processes_that_ended_is_no_work():
    assert told(105 * MS, (OWN, 5 * MS, 95 * MS), children=0.25) == []


def test_a_python_thread_is_named(other):
    new = told(105 * MS, (OWN, 5 * MS, 65 * MS), (other, None, 40 * MS))
    assert new == ["thread reader"]
    was_there = told(105 * MS, (OWN, 5 * MS, 65 * MS), (other, 7 * MS, 47 * MS))
    assert was_there == ["thread reader"]


def test_what_passes_on_to_other_processes_is_no_work(other):
    (thread,) = (one for one in threading.enumerate() if one.native_id == other)
    thread.name = "QueueFeederThread"
    assert told(105 * MS, (OWN, 5 * MS, 65 * MS), (other, None, 40 * MS)) == []


def test_a_thread_that_was_there_may_look_up_for_a_moment(other):
    assert told(7 * MS, (OWN, 5 * MS, 6_100_000), (other, 0, 900_000)) == []
    assert told(7 * MS, (OWN, 5 * MS, 6_100_000), (other, None, 900_000)) == [
        "thread reader"
    ]


def test_where_nothing_is_counted_nothing_is_told():
    looking = OtherThreads(lambda: None)
    looking.open()
    looking.close()
    assert looking.names == []


def burn(kept):
    since = time.thread_time()
    while time.thread_time() - since < 0.02:
        kept.append(torch.ones(8, 8) @ torch.ones(8, 8))


def ended(thread):
    """Joined, and gone for Linux too, which may count it a little longer."""
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        time.sleep(0.001)


@linux
def test_work_whose_result_is_kept_elsewhere_is_not_counted(tmp_path):
    """Nothing of it comes back into a recorded call."""
    model, kept = nn.Linear(8, 8, bias=False), []
    with shapetrace.trace(model, checks=False) as t:
        thread = threading.Thread(target=burn, args=(kept,))
        thread.start()
        model(torch.ones(4, 8))
        ended(thread)
    found = t.costs
    assert found.flops == 2 * 4 * 8 * 8
    assert not found.complete and found.uncounted == ("threads that ended",)
    assert not found.calls[0].uncounted
    t.to_json(tmp_path / "report.json")
    loaded = shapetrace.load(tmp_path / "report.json")
    assert loaded.costs.uncounted == ("threads that ended",)


@linux
def test_a_thread_that_goes_on_is_named():
    model, kept, done = nn.Linear(8, 8, bias=False), [], threading.Event()
    worked = threading.Event()

    def work():
        burn(kept)
        worked.set()
        done.wait()

    thread = threading.Thread(target=work, name="scorer")
    with shapetrace.trace(model, checks=False) as t:
        thread.start()
        worked.wait()
        model(torch.ones(4, 8))
    done.set()
    thread.join()
    assert t.costs.uncounted == ("thread scorer",)


def test_a_batch_and_its_backward_have_no_other_threads():
    model = nn.Linear(8, 8)
    with shapetrace.trace(model, checks=False) as t:
        model(torch.ones(4, 8)).sum().backward()
    assert t.costs.complete
