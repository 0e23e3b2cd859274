"""How long a thread waits for a processor that other threads or programs have.

Linux counts it for each thread; where it is not counted it is unknown, which is told
as nothing. Asking takes half a microsecond, so that a recorder asks only after what
took so long that the thread may have waited.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

_FILE = "/proc/thread-self/schedstat"
#: a stretch of so many nanoseconds is worth asking for: whoever is put off a processor
#: waits for milliseconds as a rule
LONG = 200_000


class RunQueue:
    """Of the thread that opened it."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._before = self._held = 0
        #: the stamp until which what was waited has been noted
        self.noted: Any = 0

    def open(self) -> None:
        with suppress(OSError):
            self._file = os.open(_FILE, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self.waited()

    def waited(self) -> int:
        """The nanoseconds since it was last asked."""
        held, self._held = self._held, 0
        return held + self._since()

    def hold(self) -> None:
        """The clock will stand still: what was waited so far is still to be noted."""
        self._held += self._since()

    def skip(self) -> None:
        """It stood still: what was waited meanwhile is in no time."""
        self._since()

    def _since(self) -> int:
        if self._file is None:
            return 0
        _, waited, _ = os.pread(self._file, 100, 0).split()
        before, self._before = self._before, int(waited)
        return self._before - before

    def close(self) -> None:
        """Safe to call again."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
