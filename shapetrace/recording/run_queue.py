"""How long a thread waits for a processor that other threads or programs have.

Linux counts it for each thread; where it is not counted it is unknown, which is told
as nothing. Asking takes half a microsecond, so that a recorder asks only after what
took so long that the thread may have waited.
"""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from typing import Any

_FILE = "/proc/thread-self/schedstat"
#: a stretch of so many nanoseconds is worth asking for: whoever is put off a processor
#: waits for milliseconds as a rule
LONG = 200_000


class RunQueue:
    """Of the thread that opened it."""

    def __init__(self) -> None:
        self._file: FileIO | None = None
        #: `_late` was waited after the stretch that it was asked for
        self._before = self._late = 0
        #: the stamp until which what was waited has been noted
        self.noted: Any = 0

    def open(self) -> None:
        with suppress(OSError):
            self._file = FileIO(_FILE)
        self._since()

    def waited(self, lasted: int) -> int:
        """The nanoseconds in a stretch of so many, which has just ended. What is more
        than it lasted was waited since, while this was asked: it is in the next one."""
        late, self._late = self._late, 0
        since = self._since()
        if late + since > lasted:
            self._late = since
            return min(late, lasted)
        return late + since

    def skip(self, stood: int) -> None:
        """The clock has stood still for so long: what was waited meanwhile is in no
        time, but for what was waited since."""
        since = self._late + self._since()
        self._late = since if since > stood else 0

    def _since(self) -> int:
        if self._file is None or self._file.closed:
            return 0
        _, waited, _ = os.pread(self._file.fileno(), 100, 0).split()
        before, self._before = self._before, int(waited)
        return self._before - before

    def close(self) -> None:
        """Safe to call again."""
        if self._file is not None:
            self._file.close()
