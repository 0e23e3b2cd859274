"""Cells of CSV that no spreadsheet runs and no terminal obeys, and back to values.

A cell that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet, and a
module's name may begin with anything. Such a cell, and one with control characters, is
written behind an apostrophe, which spreadsheets take for "text", with what cannot be
shown as a backslash and its number. All others are written as they are.
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any

from shapetrace.errors import ReportError
from shapetrace.records import Recording
from shapetrace.source.printable import UNPRINTABLE, printable
from shapetrace.views.files import read

if TYPE_CHECKING:
    import pandas

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


def read_csv(path: str | os.PathLike[str]) -> pandas.DataFrame:
    """The table that `Trace.to_csv` wrote, its texts as they were in the trace.

    Numbers are numbers again; shapes and dtypes stay as they are written (`2x3`).

    Raises:
        ReportError: if the file is missing, damaged or something else.

    Examples:
        >>> import os, tempfile, torch, shapetrace
        >>> layer = torch.nn.Linear(4, 3)
        >>> with shapetrace.trace(layer) as t:
        ...     y = layer(torch.ones(2, 4))
        >>> path = os.path.join(tempfile.mkdtemp(), "report.csv")
        >>> t.to_csv(path)
        >>> list(shapetrace.read_csv(path)["output_shapes"])
        ['2x3']
    """
    import pandas

    from shapetrace.views.frame import frame

    text = read(path, written_by="t.to_csv(path)", reader="read_csv()")
    known = dict(frame(Recording((), (), {}, {})).dtypes)
    try:
        made = pandas.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
        if not {"call", "parent", "name", "type"} <= set(made):
            raise ValueError("it lacks the columns of module calls")
        for name in made.columns:
            if name in known and known[name].kind not in "iuf":
                made[name] = _texts(
                    list(made[name]), empty="" if name == "name" else None
                )
            else:
                made[name] = pandas.to_numeric(made[name].replace("", None))
    except ValueError as error:
        raise ReportError(
            f"Cannot read {os.fspath(path)!r} ({error}): read_csv() takes the path of a"
            " report that t.to_csv(path) wrote."
        ) from error
    return made.astype({name: known[name] for name in made if name in known})


def _texts(cells: list[str], empty: str | None) -> list[str | None]:
    return [unguarded(cell) if cell else empty for cell in cells]
