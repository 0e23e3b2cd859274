"""Colours for a terminal, where there is one and colours are wanted."""

from __future__ import annotations

import os
from typing import TextIO

from shapetrace.diagnosis.words.pieces import Style, pieces
from shapetrace.records import Diagnosis

BOLD = "1"
FAILED = "31"
CULPRIT = "1;31"
REMARKED = "33"

#: the codes of ECMA-48 (SGR) for the parts of an explanation
_CODES: dict[Style, str] = {
    "message": BOLD,
    "place": "2",
    "mark": FAILED,
    "odd": CULPRIT,
    "heading": BOLD,
    "culprit": CULPRIT,
    "old": FAILED,
    "new": "32",
}


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody has said no: by
    `NO_COLOR` (https://no-color.org) or `TERM=dumb`."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # no such method, or closed
        return False


def painted(text: str, code: str) -> str:
    """Some text in a colour; what follows is not.

    >>> painted("fc1", CULPRIT)
    '\\x1b[1;31mfc1\\x1b[0m'
    """
    return f"\x1b[{code}m{text}\x1b[0m" if code and text.strip() else text


def explanation(diagnosis: Diagnosis, width: int, *, colours: bool) -> str:
    """A whole explanation, at most 25 lines of `width` columns."""
    lines = []
    for line in pieces(diagnosis, width):
        end = "".join(text for _, text in line).rstrip()
        if colours:
            end = "".join(painted(text, _CODES.get(style, "")) for style, text in line)
        lines.append(end)
    return "\n".join(lines)
