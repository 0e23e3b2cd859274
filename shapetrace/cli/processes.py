"""The processes that a script starts: what runs in them is not traced."""

from __future__ import annotations

import os
import sys
from typing import Any

_EVENTS = {
    *("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"),
    "os.system",
    "_winapi.CreateProcess",
}


class Processes:
    """Counts them by Python's audit events. A hook for these cannot be taken off
    again: it falls silent instead. Of those that multiprocessing spawns on POSIX
    systems, `torch.multiprocessing.spawn` too, there are none: that time has passed in
    children tells that there were some."""

    def __init__(self) -> None:
        self._count = 0
        self._looks = False
        self._before = self._after = 0.0

    def watch(self) -> None:
        self._looks = True
        self._before = _time_of_children()
        sys.addaudithook(self._heard)

    def ignore(self) -> None:
        self._looks = False
        self._after = _time_of_children()

    @property
    def said(self) -> str:
        """`a process`, `3 processes`, `processes`; empty where there were none."""
        if self._count:
            return "a process" if self._count == 1 else f"{self._count} processes"
        return "processes" if self._after > self._before else ""

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._looks and event in _EVENTS:
            self._count += 1


def _time_of_children() -> float:
    """Processor time of those that have ended and were waited for."""
    times = os.times()
    return times.children_user + times.children_system
