"""Columns for what was measured beside shapes and times: each only where recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from shapetrace.records import ModuleCall, Recording, Source
from shapetrace.source.place import text
from shapetrace.views import words

if TYPE_CHECKING:
    from shapetrace.costs import Costs, LineCost, ModuleStatistics, Total

Columns = dict[str, list[Any]]

#: fields of `ModuleCall` in nanoseconds; the others of `LABELS` are bytes
TIMES = ("device_ns", "backward_ns", "recompute_ns")
#: what a table for people calls them
LABELS = {
    "device_ns": "device ms",
    "backward_ns": "bwd ms",
    "recompute_ns": "redo ms",
    "saved_bytes": "saved",
    "allocated_bytes": "alloc",
}


def call_measures(rec: Recording, costs: Costs | None) -> Columns:
    """By module call."""
    columns = _recorded(rec, [[call] for call in rec.calls] if _fields(rec) else [])
    if costs is not None:
        columns.update(_costs([[call] for call in rec.calls], costs))
    return columns


def module_measures(rec: Recording, costs: Costs | None) -> Columns:
    """By module, in the order of the first calls; sums over its calls, and how their
    times spread where there are several."""
    from shapetrace.costs import batches, statistics

    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        groups.setdefault(call.name, []).append(call)
    columns = _recorded(rec, list(groups.values()))
    if max(batches(rec), default=0) > 0:
        times = None
        if costs is not None and costs.settled:
            times = [cost.corrected_ns or 0 for cost in costs.calls]
        spread = statistics(rec, times)
        found = [spread.get(name) for name in groups]
        if rec.has_timing:
            for part in ("first", "min", "median", "p95", "max"):
                columns[f"{part}_ms"] = [_milliseconds(one, part) for one in found]
        columns["varying"] = [varying(one) for one in found]
    if costs is not None:
        columns.update(_costs(list(groups.values()), costs))
    return columns


def total_measures(rec: Recording, rows: Sequence[Total]) -> Columns:
    """By type or by block; columns without a figure are left out."""
    columns: Columns = {
        "name": [one.name for one in rows],
        "type": [one.type for one in rows],
        "modules": [one.modules for one in rows],
        "calls": [one.calls for one in rows],
    }
    if rec.has_timing:
        columns["total_ms"] = [one.total_ns / 1e6 for one in rows]
        columns["self_ms"] = [one.self_ns / 1e6 for one in rows]
        whole = sum(one.self_ns for one in rows) or 1
        columns["share"] = [one.self_ns / whole for one in rows]
    return columns | _known(rows, _TOTALS)


def line_measures(rec: Recording, rows: Sequence[LineCost]) -> Columns:
    """By line of code; columns without a figure are left out."""
    columns: Columns = {
        "source": [words.place(one.source) or None for one in rows],
        "code": [_first_line(one.source) for one in rows],
        "calls": [one.calls for one in rows],
        "names": [", ".join(one.names) for one in rows],
    }
    if rec.has_timing:
        columns["total_ms"] = [one.time_ns / 1e6 for one in rows]
        whole = sum(one.time_ns for one in rows) or 1
        columns["share"] = [one.time_ns / whole for one in rows]
    return columns | _known(rows, _LINES)


_LINES = ("backward_ns", "saved_bytes", "moved_bytes", "flops", "backward_flops")
_TOTALS = (*_LINES[:2], "parameter_bytes", *_LINES[2:])


def _milliseconds(one: ModuleStatistics | None, part: str) -> float | None:
    time: int | None = getattr(one, f"{part}_ns", None)
    return None if time is None else time / 1e6


def _first_line(source: Source | None) -> str | None:
    """A loop's place is the whole loop, of which the first line tells enough."""
    return text(replace(source, end_line=None)) or None if source else None


def _known(
    rows: Sequence[Total] | Sequence[LineCost], fields: Sequence[str]
) -> Columns:
    columns: Columns = {}
    for field in fields:
        values = [getattr(one, field) for one in rows]
        if any(value is not None for value in values):
            if field.endswith("_ns"):
                name = f"{field.removesuffix('_ns')}_ms"
                columns[name] = [None if one is None else one / 1e6 for one in values]
            else:
                columns[field] = values
    return columns


def recorded(rec: Recording) -> tuple[str, ...]:
    """Those of the fields that this trace has figures in."""
    return tuple(field for field in LABELS if any(map(attrgetter(field), rec.calls)))


def written(field: str, value: int | None, digits: int = 2) -> str:
    """A figure with its unit, "?" where it is not known."""
    if value is None:
        return "?"
    if field in TIMES:
        return words.milliseconds(value, digits)
    return words.scaled(value, "B")


def varying(found: ModuleStatistics | None) -> str | None:
    """`args[0] dim 0: 32, 17`: the dimensions that differ between calls."""
    if found is None or not found.varying:
        return None
    said = []
    for place, sizes in found.varying.items():
        shown = ", ".join(map(str, sizes[:6]))
        more = f", … {len(sizes) - 6} more" if len(sizes) > 6 else ""
        said.append(f"{place}: {shown}{more}")
    return "; ".join(said)


def total(values: Iterable[int | None]) -> int | None:
    """The sum; None where one is unknown."""
    found = list(values)
    return None if None in found else sum(one or 0 for one in found)


def _fields(rec: Recording) -> list[str]:
    """Those that options of the trace have filled."""
    return [
        field for field in LABELS if set(map(attrgetter(field), rec.calls)) - {None}
    ]


def of_group(
    field: str, group: Sequence[ModuleCall], turn: Sequence[int]
) -> int | None:
    """A field of several calls: times add up; of bytes it is the batch (`turn`) that
    holds most, since what one batch holds is gone with the next. None where one call
    is unknown."""
    values = [getattr(call, field) for call in group]
    if field in TIMES or None in values:
        return total(values)
    sums: dict[int, int] = {}
    for call, value in zip(group, values, strict=True):
        at = turn[call.index]
        sums[at] = sums.get(at, 0) + value
    return max(sums.values(), default=0)


def _recorded(rec: Recording, groups: Sequence[Sequence[ModuleCall]]) -> Columns:
    from shapetrace.costs import batches

    columns: Columns = {}
    turn = batches(rec)
    for field in _fields(rec):
        sums = [of_group(field, group, turn) for group in groups]
        if not any(sums) and field == "recompute_ns":
            continue
        if field.endswith("_ns"):
            name = f"{field.removesuffix('_ns')}_ms"
            columns[name] = [None if one is None else one / 1e6 for one in sums]
        else:
            columns[field] = list(sums)
    return columns


def _costs(groups: Sequence[Sequence[ModuleCall]], costs: Costs) -> Columns:
    columns: Columns = {}
    of = [[costs.calls[call.index] for call in group] for group in groups]
    for field in ("flops", "backward_flops", "moved_bytes", "output_bytes"):
        columns[field] = [total(getattr(one, field) for one in calls) for calls in of]
    for field in ("parameter_bytes", "buffer_bytes"):
        columns[field] = [getattr(calls[0], field) for calls in of]
    flops, moved = columns["flops"], columns["moved_bytes"]
    times = [sum(one.time_ns for one in calls) for calls in of]
    columns["intensity"] = [
        a / b if a is not None and b else None
        for a, b in zip(flops, moved, strict=True)
    ]
    if any(times):
        columns["flops_per_second"] = [
            a / b * 1e9 if a is not None and b else None
            for a, b in zip(flops, times, strict=True)
        ]
    if costs.corrected_ns is not None:
        for name in ("corrected", "corrected_self"):
            columns[f"{name}_ms"] = [
                sum(getattr(one, f"{name}_ns") for one in calls) / 1e6 for calls in of
            ]
    columns["uncounted"] = [
        ", ".join(sorted({name for one in calls for name in one.uncounted})) or None
        for calls in of
    ]
    return columns
