"""What `shapetrace run` does as one of several ranks: a report of its own each, and one
of all. `report.json` becomes `report.rank0.json`, `report.rank1.json` and so on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from shapetrace.cli.stuck import Stuck, leave
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


def begin(path: str) -> None:
    """The report of an earlier run, of this rank, is none of this one."""
    with suppress(FileNotFoundError):
        os.unlink(path_of_rank(path))


class InOrder:
    """torchrun ends all ranks by SIGTERM when one fails: within this block the script
    is left as by `sys.exit`, and the report is written. Where it cannot be left, it is
    `report` that writes."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._stuck = Stuck(report)
        self._mine = False

    def __enter__(self) -> InOrder:
        first = rank() is not None and signal.getsignal(signal.SIGTERM) is _DEFAULT
        self._mine = first
        if first:
            signal.signal(signal.SIGTERM, leave)
            self._stuck.watch()
        return self

    def script_ended(self) -> None:
        """Of itself, or by an error because another rank is gone: the SIGTERM that then
        follows must not end what it asks for."""
        if self._mine:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._stuck.over()

    def __exit__(self, *error: object) -> None:
        if self._mine:
            signal.signal(signal.SIGTERM, _DEFAULT)


_DEFAULT = signal.SIG_DFL
