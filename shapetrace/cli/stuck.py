"""A rank that is to end and cannot: it waits in C++ for another rank, where no handler
of Python's runs, until torchrun loses patience and kills it. Its report is written
meanwhile, by another thread.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from shapetrace.recording.collectives import collective_of

#: the main thread has answered a signal within so many seconds, if it can. Torchrun
#: waits for 30 before it kills
PATIENCE_S = 3.0


class Stuck:
    """Python's C code writes the number of each signal into a pipe as it comes. Where
    that is in use already, or the program's own loop takes it, there is no report; nor
    where the program has a handler of its own."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """`report` is given the collective in which the main thread waits, and its
        line."""
        self._report = report
        self._lock = threading.Lock()
        self._over = False
        self._main = threading.get_ident()

    def watch(self) -> None:
        read, write = os.pipe()
        os.set_blocking(write, False)
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            return
        # what comes to a forked process is not for this one
        os.register_at_fork(after_in_child=_as_without)
        threading.Thread(target=self._read, args=(read,), daemon=True).start()

    def over(self) -> None:
        """The main thread is back: waits for a report that is being written."""
        with self._lock:
            self._over = True

    def _read(self, pipe: int) -> None:
        while data := os.read(pipe, 1):
            stands = self._where()
            time.sleep(PATIENCE_S)
            with self._lock:
                if self._over:
                    return
                handler = signal.getsignal(data[0])
                ends = handler in (leave, signal.default_int_handler)
                if ends and stands == self._where():
                    self._report(collective_of(_stops(self._frame())))
                    if handler is leave:
                        _flush()
                        os._exit(128 + signal.SIGTERM)

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._main)

    def _where(self) -> tuple[int, int]:
        frame = self._frame()
        return (0, 0) if frame is None else (id(frame), frame.f_lasti)


def _stops(frame: FrameType | None) -> list[tuple[FrameType, int, int]]:
    """The frames below which it stands, the outermost first."""
    found = []
    while frame is not None:
        found.append((frame, frame.f_lasti, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def _as_without() -> None:
    """In a forked process signals do what they do to it without us."""
    signal.set_wakeup_fd(-1)
    if signal.getsignal(signal.SIGTERM) is leave:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


class Terminated(SystemExit):
    """SIGTERM has come to a script that has no handler for it."""

    def __str__(self) -> str:
        return "ended by SIGTERM"


def leave(number: int, frame: FrameType | None) -> None:
    """A signal's handler: leaves the script as `sys.exit` does."""
    # once: what follows may take its time, until torchrun loses patience
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(128 + number)
