"""What `shapetrace run` does as one of several ranks: a report of its own each, and one
of all. `report.json` becomes `report.rank0.json`, `report.rank1.json` and so on."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from shapetrace.comparison import rank_file

#: ranks of one run start within so many seconds of each other; an older report is of
#: an earlier run
_APART_S = 120.0
_STARTED = time.time()


def rank() -> int | None:
    """The number of this process among those that torchrun started; None: it is the
    only one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    number = os.environ.get("RANK", "")
    return int(number) if number.isdigit() else None


def path_of_rank(path: str) -> str:
    """`report.rank1.csv`: ranks must not write over each other's files."""
    number = rank()
    return path if number is None else rank_file.path_of(path, number)


def merge(path: str) -> None:
    """Bring together the reports of all ranks that have written one under this path.

    Raises:
        ReportError: if a file cannot be read or written.
    """
    if rank() is not None:
        size = int(os.environ["WORLD_SIZE"])
        rank_file.merge_files(path, size, since=_STARTED - _APART_S)


class InOrder:
    """torchrun ends all ranks by SIGTERM when one fails: within this block the script
    is left as by `sys.exit`, and the report is written."""

    def __enter__(self) -> InOrder:
        first = rank() is not None and signal.getsignal(signal.SIGTERM) is _DEFAULT
        self._mine = first
        if first:
            signal.signal(signal.SIGTERM, _leave)
        return self

    def script_ended(self) -> None:
        """Of itself, or by an error because another rank is gone: the SIGTERM that then
        follows must not end what it asks for."""
        if self._mine:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def __exit__(self, *error: object) -> None:
        if self._mine:
            signal.signal(signal.SIGTERM, _DEFAULT)


_DEFAULT = signal.SIG_DFL


def _leave(number: int, frame: FrameType | None) -> None:
    # once: what follows may take its time, until torchrun loses patience
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
