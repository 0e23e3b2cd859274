"""What the command writes, to whatever standard output and error are.

A stream may not know our characters, may be closed, or may lead nowhere any more: none
of that may cost the script its exception or its exit status.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

from shapetrace.records.printable import printable
from shapetrace.views.encoding import encodable
from shapetrace.views.terminal import has_colours, is_terminal

#: the exit status for a command that cannot be carried out, as argparse has it
USAGE = 2
#: what a shell reports of a program that Ctrl-C ended
INTERRUPTED = 130
#: who waits longer than that many seconds is told for what
PATIENCE = 2.0


def show(text: str) -> None:
    """Print to standard output."""
    _write(sys.stdout or sys.__stdout__, printable(text))


def show_report(made: Callable[[int | None, bool], str]) -> None:
    """Print what a view makes of the width of the terminal (None: there is none) and
    of whether colours are wanted: nothing in it but these does anything to it."""
    stream = sys.stdout or sys.__stdout__
    if stream is None or not is_terminal(stream):
        _write(stream, made(None, False))
    else:
        _write(stream, made(shutil.get_terminal_size().columns, has_colours(stream)))


def say(text: str) -> None:
    """A remark on standard error, which is no part of the report."""
    _write(sys.stderr or sys.__stderr__, printable(f"shapetrace: {text}"))


def refuse(options: argparse.Namespace, reason: str) -> NoReturn:
    """End the command before anything has run."""
    parser: argparse.ArgumentParser = options.parser
    parser.error(reason)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # a program without a console
        return
    try:
        text = encodable(text, stream.encoding)
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain once more when
        # it flushes at exit, so that the rest goes nowhere.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError) as error:  # ValueError: the script has closed it
        if stream is not sys.stderr:
            say(f"standard output cannot be written to ({error})")


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """Say what is being done, if it takes its time."""
    timer = threading.Timer(PATIENCE, say, [f"{doing} …"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
