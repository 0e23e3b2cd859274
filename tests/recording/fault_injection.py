"""Lets our own code fail anywhere: at each line of each function, in any way.

Python's own tracing is the tool: what a trace function raises, the traced frame raises
at that line. So no function needs to be known by name, not even a closure.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import shapetrace

OURS = str(Path(shapetrace.__file__).parent)

#: a line of ours that runs
Place = tuple[str, int]


@contextmanager
def _tracing(seen: Callable[[FrameType, str], None]) -> Iterator[None]:
    """Calls `seen` for each line of ours that is about to run."""

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            seen(frame, event)
        return local

    ours: dict[CodeType, bool] = {}

    def call(frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in ours:
            ours[code] = code.co_filename.startswith(OURS)
        return local if ours[code] else None

    was = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(was)


@contextmanager
def lines_of_ours() -> Iterator[dict[Place, str]]:
    """The lines that run meanwhile, each with its function's name, in order."""
    found: dict[Place, str] = {}

    def seen(frame: FrameType, event: str) -> None:
        code = frame.f_code
        found.setdefault((code.co_filename, frame.f_lineno), code.co_qualname)

    with _tracing(seen):
        yield found


@contextmanager
def failing_at(
    place: Place, error: BaseException, after: int = 0
) -> Iterator[list[bool]]:
    """The line raises, once it has been reached `after` times; the list then holds
    True."""
    raised: list[bool] = []
    reached = 0

    def seen(frame: FrameType, event: str) -> None:
        nonlocal reached
        if frame.f_lineno == place[1] and frame.f_code.co_filename == place[0]:
            reached += 1
            if reached > after and not raised:
                raised.append(True)
                raise error

    with _tracing(seen):
        yield raised


def can_fail(place: Place) -> bool:
    """Whether the line does anything: a `try:`, an `except` that the user's exception
    passes by, or a function's head does not."""
    text = linecache.getline(*place).strip()
    heads = ("def ", "except ")
    return text not in ("try:", "else:", "finally:") and not text.startswith(heads)


def first_lines(places: dict[Place, str]) -> list[Place]:
    """The first line of each function that ran."""
    functions: dict[tuple[str, str], Place] = {}
    for (file, line), name in places.items():
        if can_fail((file, line)):
            functions.setdefault((file, name), (file, line))
    return list(functions.values())
