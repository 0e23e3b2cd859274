"""The columns of table, CSV, frame and HTML, described once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shapetrace.errors import UsageError
from shapetrace.views.columns.catalog import COLUMNS
from shapetrace.views.columns.column import Column, Context, Group, Kind

__all__ = ["COLUMNS", "Column", "Context", "Group", "Kind", "named", "of_frame"]


def named(names: Collection[str], asked: str = "columns") -> tuple[Column, ...]:
    """The columns of these names, in this order; a text has them by commas.

    Raises:
        UsageError: if a name is unknown; the message lists those there are.
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    known = {name: one for one in COLUMNS for name in (*one.also, one.title, one.name)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"{asked}= was given {', '.join(map(repr, unknown))}, which no column is "
            f"called. The columns are: {', '.join(one.name for one in COLUMNS)}."
        )
    return tuple(dict.fromkeys(known[name] for name in names))


def of_frame(frame: str, context: Context, *, costs: bool) -> Sequence[Column]:
    """The columns of a DataFrame by "call", "function" or "group"."""
    return [
        column
        for column in COLUMNS
        if frame in column.frames
        and (costs or not column.costly)
        and column.when(context)
    ]
