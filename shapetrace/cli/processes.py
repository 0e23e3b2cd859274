"""The processes that a script starts: what runs in them is not traced."""

from __future__ import annotations

import sys
from typing import Any

_EVENTS = {"os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"}


class Processes:
    """Counts them by Python's audit events. A hook for these cannot be taken off
    again: it falls silent instead."""

    def __init__(self) -> None:
        self.count = 0
        self._looks = False

    def watch(self) -> None:
        self._looks = True
        sys.addaudithook(self._heard)

    def ignore(self) -> None:
        self._looks = False

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self._looks and event in _EVENTS:
            self.count += 1
