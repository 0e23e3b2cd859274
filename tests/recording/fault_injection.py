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
def _tracing(
    seen: Callable[[FrameType], None], wanted: Callable[[CodeType], bool]
) -> Iterator[None]:
    """Calls `seen` for each line that is about to run of the code that is wanted."""

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            seen(frame)
        return local

    def call(frame: FrameType, event: str, arg: Any) -> Any:
        return local if wanted(frame.f_code) else None

    was = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(was)


def is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(OURS)


@contextmanager
def lines_of_ours() -> Iterator[dict[Place, str]]:
    """The lines that run meanwhile, each with its function's name, in order."""
    found: dict[Place, str] = {}

    def seen(frame: FrameType) -> None:
        code = frame.f_code
        found.setdefault((code.co_filename, frame.f_lineno), code.co_qualname)

    with _tracing(seen, is_ours):
        yield found


@contextmanager
def failing_at(
    place: Place, error: BaseException, after: int = 0
) -> Iterator[list[bool]]:
    """The line raises, once it has been reached `after` times; the list then holds
    True."""
    raised: list[bool] = []
    reached = 0

    holding: dict[CodeType, bool] = {}

    def has_it(code: CodeType) -> bool:
        # a look at every line of ours would take twenty times as long
        if code not in holding:
            lines = {line for _, _, line in code.co_lines()}
            holding[code] = code.co_filename == place[0] and place[1] in lines
        return holding[code] and not raised

    def seen(frame: FrameType) -> None:
        nonlocal reached
        if frame.f_lineno == place[1] and not raised:
            reached += 1
            if reached > after:
                raised.append(True)
                raise error

    with _tracing(seen, has_it):
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
