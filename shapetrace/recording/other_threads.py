"""Threads beside the tracing one that were at work in a block.

No function mode sees what they call, and a public way to look on there would be a
profiler in the user's threads. But Linux counts the processor time of each thread, and
of the process as a whole, those that have ended too: a thread that has worked is told
by that, though not what it did. Where it is not counted, nothing is told.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

_TASKS = "/proc/self/task"
#: so much of the processor time of the block is no mere waiting
_PART = 0.05
#: threads of Python's own that pass on what processes are given
_FEEDS = "QueueFeederThread"
#: nanoseconds by which clocks may be off; and what threads do that were there before,
#: such as those of Jupyter and of progress bars
_NOISE, _IDLE = 50_000, 1_000_000


class Clocks(NamedTuple):
    """The nanoseconds that the process and each of its threads have run so far, and the
    seconds of the processes that it has started and that have ended. The process runs
    while they are read: it is asked first, and again in the end."""

    process: int
    threads: Mapping[int, int]
    children: float
    process_later: int


def clocks() -> Clocks | None:
    """None where the system does not tell."""
    threads = {}
    process = time.process_time_ns()
    with suppress(OSError):
        for name in os.listdir(_TASKS):
            thread = int(name)
            with suppress(OSError):  # it has ended meanwhile
                threads[thread] = time.clock_gettime_ns(_clock_of(thread))
    if not threads:
        return None
    ran = os.times()
    children = ran.children_user + ran.children_system
    return Clocks(process, threads, children, time.process_time_ns())


def _clock_of(thread: int) -> int:
    """The number that Linux gives the clock of a thread's processor time."""
    return ~thread << 3 | 6


class OtherThreads:
    """`open` and `close` are called in the tracing thread. `names` are then those of
    the threads that were at work in between."""

    def __init__(self, read: Callable[[], Clocks | None] = clocks) -> None:
        self._read = read
        self._before: Clocks | None = None
        self.names: list[str] = []

    def open(self) -> None:
        self._before = self._read()

    def close(self) -> None:
        """Safe to call again."""
        before, self._before = self._before, None
        now = self._read() if before is not None else None
        if before is not None and now is not None:
            self.names = _at_work(before, now)


def _at_work(before: Clocks, now: Clocks) -> list[str]:
    """Threads of torch's and of its libraries are no Python threads, and stay."""
    ran = {
        thread: time_ns - before.threads.get(thread, 0)
        for thread, time_ns in now.threads.items()
    }
    spent = now.process - before.process_later  # no more than it was
    least = max(_NOISE, _PART * spent)
    own = threading.get_native_id()
    names = []
    for thread in threading.enumerate():
        number = thread.native_id
        if number == own or number not in ran or thread.name == _FEEDS:
            continue
        idle = _IDLE if number in before.threads else 0
        if ran[number] > max(least, idle):
            names.append(f"thread {thread.name}")
    # what fed the workers of a loader ends with them, and took 6 % of a small loop
    if now.children == before.children and spent - sum(ran.values()) > least:
        names.append("threads that ended")
    return names
