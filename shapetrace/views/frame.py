"""Traces as pandas DataFrames and CSV files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from csv import writer
from typing import TYPE_CHECKING, Any

from shapetrace.errors import UsageError
from shapetrace.records import Broadcast, Diagnosis, Recording
from shapetrace.views import words
from shapetrace.views.columns import Column, Context, Group, of_frame
from shapetrace.views.csv import guarded
from shapetrace.views.files import write
from shapetrace.views.groups import GROUPINGS, by_function
from shapetrace.views.marks import FAILURE, all_findings, failure_of, marks_of
from shapetrace.views.totals import TOTALS
from shapetrace.views.totals import broadcasts as ledger_of

if TYPE_CHECKING:
    import pandas

    from shapetrace.costs import Costs

Shapes = tuple[tuple[int, ...], ...]


def frame(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    by: str = "call",
    *,
    failure: Diagnosis | None = None,
    broadcasts: Sequence[Broadcast] = (),
    costs: Costs | None = None,
) -> pandas.DataFrame:
    """One row per module call, module, function call, implicit expansion, type of
    module, repeated block or line of code.

    Shapes are tuples, times milliseconds; without timing there are no columns for
    it. What was found is in the column `finding`, and as text in `.attrs`. Columns of
    FLOPs, bytes and corrected times come with `costs`.
    """
    findings = all_findings(findings, failure)
    if by in GROUPINGS:
        kind, group = GROUPINGS[by]
        context = Context(rec, (lambda: costs) if costs is not None else None)
        columns = of_frame(kind, context, costs=costs is not None)
        made = _frame(columns, group(rec, marks_of(rec, findings)), context)
    elif by in TOTALS:
        made = TOTALS[by](rec, costs if costs is not None else Context(rec).costs)
    elif by == "broadcast":
        made = ledger_of(broadcasts)
    else:
        choices = ", ".join(map(repr, [*GROUPINGS, "broadcast", *TOTALS]))
        raise UsageError(f"there is no frame by {by!r}: by= takes one of {choices}")
    made.attrs.update(_attributes(rec, findings, failure))
    return made


def csv(
    rec: Recording,
    findings: Sequence[Diagnosis],
    path: str | os.PathLike[str],
    *,
    by: str = "call",
    failure: Diagnosis | None = None,
    broadcasts: Sequence[Broadcast] = (),
    costs: Costs | None = None,
) -> None:
    """Write a frame; after the module calls the function that failed, if one did.

    A shape reads `2x73`, several are separated by `;`, one of no dimensions is
    `scalar`. Raises `ReportError` when the file cannot be written.
    """
    if by in GROUPINGS:
        marks = marks_of(rec, all_findings(findings, failure))
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
        made = frame(
            rec, findings, by, failure=failure, broadcasts=broadcasts, costs=costs
        )
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


def _frame(
    columns: Iterable[Column], groups: Sequence[Group], context: Context
) -> pandas.DataFrame:
    """Objects stay tuples, and columns that may lack a number stay whole numbers."""
    import pandas

    return pandas.DataFrame(
        {
            column.name: pandas.Series(column.of(groups, context), dtype=column.dtype)
            for column in columns
        }
    )


def _attributes(
    rec: Recording, findings: Sequence[Diagnosis], failure: Diagnosis | None
) -> dict[str, Any]:
    """Plain text: pandas copies `attrs` with every frame made from this one."""
    failure = failure_of(findings, failure)
    attributes: dict[str, Any] = {}
    if failure is not None:
        attributes[FAILURE] = str(failure)
    if findings:
        attributes["findings"] = [
            f"{finding.code}: {words.headline(finding)}" for finding in findings
        ]
    if rec.notes:
        attributes["notes"] = list(rec.notes)
    return attributes
