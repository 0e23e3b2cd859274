"""Frames whose rows are no calls: by type, by block, by line, and implicit expansions.

Each column is its name, its dtype and how it gets its value of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from shapetrace.records import Broadcast, Recording, Source
from shapetrace.source.place import text
from shapetrace.views import words
from shapetrace.views.series import series

if TYPE_CHECKING:
    import pandas

    from shapetrace.costs import Costs

Ledger = tuple[tuple[str, Any, Callable[[Any], Any]], ...]


def _milliseconds(name: str) -> Callable[[Any], float | None]:
    get = attrgetter(name)
    return lambda row: None if get(row) is None else get(row) / 1e6


def _first_line(source: Source | None) -> str | None:
    """A loop's place is the whole loop, of which the first line tells enough."""
    return text(replace(source, end_line=None)) or None if source else None


def _source(row: Any) -> str | None:
    return words.place(row.source) or None


_BROADCASTS: Ledger = (
    ("call", "Int64", attrgetter("call")),
    ("name", "str", attrgetter("name")),
    ("stretched", "str", attrgetter("stretched")),
    ("by", "str", attrgetter("by")),
    ("dim", "Int64", attrgetter("dim")),
    ("size", "Int64", attrgetter("size")),
    ("shapes", "object", attrgetter("shapes")),
    ("source", "str", _source),
    ("module", "str", attrgetter("module")),
    ("met_target", "bool", attrgetter("met_target")),
)
#: left out where no row has a figure
_MEASURED: Ledger = (
    ("backward_ms", "float64", _milliseconds("backward_ns")),
    ("saved_bytes", "Int64", attrgetter("saved_bytes")),
    ("moved_bytes", "Int64", attrgetter("moved_bytes")),
    ("flops", "Int64", attrgetter("flops")),
    ("backward_flops", "Int64", attrgetter("backward_flops")),
)
_TOTALS: Ledger = (
    ("name", "str", attrgetter("name")),
    ("type", "str", attrgetter("type")),
    ("modules", "Int64", attrgetter("modules")),
    ("calls", "Int64", attrgetter("calls")),
)
_TIMES_OF_TOTALS: Ledger = (
    ("total_ms", "float64", _milliseconds("total_ns")),
    ("self_ms", "float64", _milliseconds("self_ns")),
)
_PARAMETERS: Ledger = (("parameter_bytes", "Int64", attrgetter("parameter_bytes")),)
_LINES: Ledger = (
    ("source", "str", _source),
    ("code", "str", lambda row: _first_line(row.source)),
    ("calls", "Int64", attrgetter("calls")),
    ("names", "str", lambda row: ", ".join(row.names)),
)
_TIMES_OF_LINES: Ledger = (("total_ms", "float64", _milliseconds("time_ns")),)


def broadcasts(found: Sequence[Broadcast]) -> pandas.DataFrame:
    return _frame(found, _BROADCASTS)


def by_type(rec: Recording, costs: Costs) -> pandas.DataFrame:
    from shapetrace.costs import by_type as rows

    return _totals(rec, rows(rec, costs))


def by_block(rec: Recording, costs: Costs) -> pandas.DataFrame:
    from shapetrace.costs import by_block as rows

    return _totals(rec, rows(rec, costs))


def by_line(rec: Recording, costs: Costs) -> pandas.DataFrame:
    from shapetrace.costs import by_line as rows

    found = rows(rec, costs)
    times = (*_TIMES_OF_LINES, _share(found, "time_ns")) if rec.has_timing else ()
    return _frame(found, (*_LINES, *times, *_known(found, _MEASURED)))


def _totals(rec: Recording, found: Sequence[Any]) -> pandas.DataFrame:
    times = (*_TIMES_OF_TOTALS, _share(found, "self_ns")) if rec.has_timing else ()
    measured = (*_MEASURED[:2], *_PARAMETERS, *_MEASURED[2:])
    return _frame(found, (*_TOTALS, *times, *_known(found, measured)))


def _share(rows: Sequence[Any], name: str) -> tuple[str, str, Callable[[Any], float]]:
    get = attrgetter(name)
    whole = sum(map(get, rows)) or 1
    return "share", "float64", lambda row: get(row) / whole


def _known(rows: Sequence[Any], columns: Ledger) -> Ledger:
    return tuple(
        column for column in columns if any(column[2](row) is not None for row in rows)
    )


def _frame(rows: Sequence[Any], columns: Ledger) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(
        {
            name: series([get(row) for row in rows], dtype)
            for name, dtype, get in columns
        }
    )


#: what `by` takes beside the groupings of calls
TOTALS: dict[str, Callable[[Recording, Costs], pandas.DataFrame]] = {
    "type": by_type,
    "block": by_block,
    "line": by_line,
}
