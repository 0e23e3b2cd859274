"""The processes that a script starts: what runs in them is not traced."""

from __future__ import annotations

import os
import sys

_EVENTS = (
    *("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"),
    "os.system",
    "_winapi.CreateProcess",
)


class Processes:
    """Told by Python's audit events. A hook for these cannot be taken off again, and is
    called some times for each torch function, since `sys._getframe` is such an event:
    it is one written in C, which crosses out what has happened. Of processes that
    multiprocessing spawns on POSIX systems, `torch.multiprocessing.spawn` too, there
    are no events: that time has passed in children tells that there were some."""

    def __init__(self) -> None:
        self._not_yet = dict.fromkeys(_EVENTS)
        self._before = 0.0
        #: whether the script has started any
        self.started = False

    def watch(self) -> None:
        self._before = _time_of_children()
        sys.addaudithook(self._not_yet.pop)

    def ignore(self) -> None:
        passed = _time_of_children() > self._before
        self.started = passed or len(self._not_yet) < len(_EVENTS)


def _time_of_children() -> float:
    """Processor time of those that have ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system
