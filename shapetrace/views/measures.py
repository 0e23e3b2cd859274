"""Columns for what was measured beside shapes and times: each only where recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from shapetrace.records import ModuleCall, Recording
from shapetrace.views import words

if TYPE_CHECKING:
    from shapetrace.costs import Costs, ModuleStatistics

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
    from shapetrace.costs import statistics

    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        groups.setdefault(call.name, []).append(call)
    columns = _recorded(rec, list(groups.values()))
    if any(len(group) > 1 for group in groups.values()):
        spread = statistics(rec)
        found = [spread.get(name) for name in groups]
        if rec.has_timing:
            for part in ("first", "min", "median", "p95", "max"):
                columns[f"{part}_ms"] = [
                    one and getattr(one, f"{part}_ns") / 1e6 for one in found
                ]
        columns["varying"] = [varying(one) for one in found]
    if costs is not None:
        columns.update(_costs(list(groups.values()), costs))
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


def _recorded(rec: Recording, groups: Sequence[Sequence[ModuleCall]]) -> Columns:
    columns: Columns = {}
    for field in _fields(rec):
        sums = [total(getattr(call, field) for call in group) for group in groups]
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
