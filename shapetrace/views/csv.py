"""Traces as CSV files, and back to frames."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from csv import writer
from typing import TYPE_CHECKING, Any

from shapetrace.errors import ReportError
from shapetrace.records import Broadcast, Diagnosis, Recording
from shapetrace.records.garbage import uncollected
from shapetrace.views import words
from shapetrace.views.cells import guarded, unguarded
from shapetrace.views.columns import Context, of_frame
from shapetrace.views.files import read, write
from shapetrace.views.frame import frame
from shapetrace.views.groups import GROUPINGS, by_function
from shapetrace.views.marks import all_findings, marks_of
from shapetrace.views.series import series

if TYPE_CHECKING:
    import pandas

    from shapetrace.costs import Costs

Shapes = tuple[tuple[int, ...], ...]


@uncollected()
def csv(
    rec: Recording,
    findings: Sequence[Diagnosis],
    path: str | os.PathLike[str],
    *,
    by: str = "call",
    broadcasts: Sequence[Broadcast] = (),
    costs: Costs | None = None,
) -> None:
    """Write a frame; after the module calls the function that failed, if one did.

    A shape reads `2x73`, several are separated by `;`, one of no dimensions is
    `scalar`. Raises `ReportError` when the file cannot be written.
    """
    if by in GROUPINGS:
        marks = marks_of(rec, all_findings(findings))
        context = Context(rec, (lambda: costs) if costs is not None else None)
        kind, group = GROUPINGS[by]
        groups = group(rec, marks)
        if by == "call":
            groups += by_function(rec, marks, sorted(marks.shown))
        cells = {
            column.name: column.of(groups, context)
            for column in of_frame(kind, context, costs=costs is not None)
        }
    else:
        made = frame(rec, findings, by, broadcasts=broadcasts, costs=costs)
        cells = {name: made[name].astype(object).tolist() for name in made.columns}
    text = io.StringIO()
    lines = writer(text, lineterminator="\n")
    lines.writerow(cells)
    written = [_written(name, values) for name, values in cells.items()]
    lines.writerows(zip(*written, strict=True))
    write(path, text.getvalue())


def _written(name: str, values: Iterable[Any]) -> list[Any]:
    """The cells of a column. A trace repeats few values often: each different one is
    written once."""
    to_text: Callable[[Any], Any] = guarded
    if name.endswith("shapes"):
        to_text = _shapes_text
    elif name.endswith("dtypes"):
        to_text = ";".join
    known: dict[Any, Any] = {None: None}
    cells = []
    for value in values:
        if isinstance(value, int | float):
            cells.append(value if value == value else None)
            continue
        if value not in known:
            known[value] = None if _is_missing(value) else to_text(value)
        cells.append(known[value])
    return cells


def _is_missing(value: Any) -> bool:
    """Whether it is what pandas puts where there is nothing."""
    return type(value).__name__ == "NAType"


def _shapes_text(shapes: Shapes) -> str:
    return ";".join(words.shape(sizes, "x") for sizes in shapes)


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

    text = read(path, written_by="t.to_csv(path)", reader="read_csv()")
    nothing = Recording((), (), {}, {})
    known = dict(frame(nothing, costs=Context(nothing).costs).dtypes)
    try:
        # as Python has them: pyarrow takes neither half a character nor any number
        made = pandas.read_csv(io.StringIO(text), keep_default_na=False, dtype=object)
        if not {"call", "parent", "name", "type"} <= set(made):
            raise ValueError("it lacks the columns of module calls")
        for name in made.columns:
            cells = list(made[name])
            if name in known and known[name].kind not in "iuf":
                made[name] = series(_texts(cells, "" if name == "name" else None), None)
            else:
                made[name] = series([_number(one) for one in cells], None)
        for name in known.keys() & set(made):
            made[name] = series(made[name], known[name])
        return made
    except (ValueError, OverflowError, TypeError) as error:
        raise ReportError(
            f"Cannot read {os.fspath(path)!r} ({error}): read_csv() takes the path of a"
            " report that t.to_csv(path) wrote."
        ) from error


def _number(cell: str) -> int | float | None:
    if not cell:
        return None
    return int(cell) if cell.lstrip("-").isdecimal() else float(cell)


def _texts(cells: list[str], empty: str | None) -> list[str | None]:
    return [unguarded(cell) if cell else empty for cell in cells]
