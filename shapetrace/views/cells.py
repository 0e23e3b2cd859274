"""Cells of CSV that no spreadsheet runs and no terminal obeys, and back to values.

A cell that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet, and a
module's name may begin with anything. Such a cell, and one with control characters, is
written behind an apostrophe, which spreadsheets take for "text", with what cannot be
shown as a backslash and its number. All others are written as they are.
"""

from __future__ import annotations

import re
from typing import Any

from shapetrace.records.printable import UNPRINTABLE, printable

#: the full-width forms too: East Asian spreadsheets read them as formulas
_FORMULA = re.compile(r"[=+\-@'\uff1d\uff0b\uff0d\uff20]")
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def guarded(value: Any) -> Any:
    """A value as it stands in the file; what is no text is left alone.

    >>> guarded("=1+1"), guarded("layer.0"), guarded(-3)
    ("'=1+1", 'layer.0', -3)
    """
    if not isinstance(value, str):
        return value
    if UNPRINTABLE.search(value) is None and _FORMULA.match(value) is None:
        return value
    return "'" + printable(value.replace("\\", "\\\\"), keep="")


def unguarded(cell: str) -> str:
    """The text of which `guarded` made the cell."""
    if not cell.startswith("'"):
        return cell
    return _ESCAPE.sub(_character, cell[1:])


def _character(match: re.Match[str]) -> str:
    code = match[1]
    return code if code == "\\" else chr(int(code[1:], 16))
