"""The summary by module: what is slow and what is large, the slowest first."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from shapetrace.costs import CallCost, Costs, batches, memory, steps
from shapetrace.records import ModuleCall, Recording
from shapetrace.views import words
from shapetrace.views.measures import (
    LABELS,
    module_measures,
    of_group,
    recorded,
    total,
    written,
)
from shapetrace.views.sentences import title
from shapetrace.views.text import NARROWEST, WIDEST

if TYPE_CHECKING:
    Cells = dict[str, list[str]]

_MOST_ROWS = 30
_MOST_UNCOUNTED = 8
_MOST_TYPES = 8
#: a first batch that takes so many times as long as the others is told of
_COLD = 1.2
_SHORTEST_NAME = 22
#: from the first to the last that goes where there is no room
_SPARE = (
    *("first ms", "p95 ms", "moved", "FLOP/s", "bwd FLOPs"),
    *("median ms", "type", "total ms"),
)


def by_module(rec: Recording, costs: Costs, width: int | None = None) -> str:
    """One row a module, sorted by its own time, in at most `width` columns."""
    if width is None:
        width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    width = max(width, NARROWEST)
    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        groups.setdefault(call.name, []).append(call)
    if not groups:
        return f"{title(rec)}: no module was called"
    own = {name: _own(group, costs) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: -own[name])
    shown = order[:_MOST_ROWS]
    cells = _columns(rec, costs, {name: groups[name] for name in shown}, own)
    lines = [_draw(cells, width)]
    lines += _rest(order[_MOST_ROWS:], groups, own)
    lines += _sentences(rec, costs)
    text = "\n".join([lines[0], "", *(_fill(line, width) for line in lines[1:])])
    return f"{steps(rec)}\n\n{text}" if rec.has_timing else text


def _rest(
    names: list[str], groups: dict[str, list[ModuleCall]], own: dict[str, int]
) -> list[str]:
    """What has no row, by type."""
    if not names:
        return []
    whole = sum(own.values())
    by_type: dict[str, list[str]] = {}
    for name in names:
        by_type.setdefault(groups[name][0].type, []).append(name)
    said = []
    for kind in sorted(by_type, key=lambda one: -sum(own[n] for n in by_type[one])):
        share = words.percent(sum(own[name] for name in by_type[kind]), whole)
        said.append(f"{len(by_type[kind])} {kind}" + (f" ({share})" if share else ""))
    more = words.plural(len(names), "more module")
    few = ", ".join(said[:_MOST_TYPES]) + (", …" if len(said) > _MOST_TYPES else "")
    return [f"… and {more}: {few}; t.to_dataframe(by='module') and by='type' have all."]


def _own(group: list[ModuleCall], costs: Costs) -> int:
    """Own time of a module, corrected where that is settled."""
    if not costs.settled:
        return sum(call.self_ns for call in group)
    times = [costs.calls[call.index].corrected_self_ns for call in group]
    known = total(times)
    return sum(call.self_ns for call in group) if known is None else known


def _columns(
    rec: Recording,
    costs: Costs,
    groups: dict[str, list[ModuleCall]],
    own: dict[str, int],
) -> Cells:
    calls = list(groups.values())
    spent = [[costs.calls[call.index] for call in group] for group in calls]
    cells: Cells = {
        "module": [name or "(root)" for name in groups],
        "type": [group[0].type for group in calls],
        "calls": [str(len(group)) for group in calls],
    }
    if rec.has_timing:
        whole = sum(own.values())
        times = [sum(call.duration_ns for call in group) for group in calls]
        if costs.settled:
            times = [sum(c.corrected_ns or 0 for c in group) for group in spent]
        cells["self ms"] = [words.milliseconds(own[name]) for name in groups]
        cells["self"] = [words.percent(own[name], whole) for name in groups]
        cells["total ms"] = [words.milliseconds(time) for time in times]
        cells |= _spread(rec, groups, costs)
    turn = batches(rec)
    for field in recorded(rec):
        sums = [of_group(field, group, turn) for group in calls]
        cells[LABELS[field]] = [written(field, one) for one in sums]
    if costs.flops is not None:
        cells["FLOPs"] = [_sum(group, lambda cost: cost.flops) for group in spent]
        moved = [total(cost.moved_bytes for cost in group) for group in spent]
        cells["moved"] = [_bytes(one) for one in moved]
        if rec.has_timing:
            cells["FLOP/s"] = [_rate(group) for group in spent]
    if costs.backward_flops:
        cells["bwd FLOPs"] = [
            _sum(group, lambda cost: cost.backward_flops) for group in spent
        ]
    return cells


def _spread(rec: Recording, groups: dict[str, list[ModuleCall]], costs: Costs) -> Cells:
    """Statistics where there were several batches."""
    columns: dict[str, list[Any]] = module_measures(rec, costs)
    if "median_ms" not in columns:
        return {}
    names = list(dict.fromkeys(call.name for call in rec.calls))
    at = [names.index(name) for name in groups]
    return {
        f"{part} ms": [
            "" if (time := columns[f"{part}_ms"][one]) is None else f"{time:,.2f}"
            for one in at
        ]
        for part in ("first", "median", "p95")
    }


def _sum(group: list[CallCost], field: Callable[[CallCost], int | None]) -> str:
    return _count(total(map(field, group)))


def _rate(group: list[CallCost]) -> str:
    flops = total(cost.flops for cost in group)
    time = sum(cost.time_ns for cost in group)
    return words.scaled(flops / time * 1e9) if flops and time else ""


def _count(value: int | None) -> str:
    return "?" if value is None else words.scaled(value)


def _bytes(value: int | None) -> str:
    return "?" if value is None else words.scaled(value, "B")


def _draw(cells: Cells, width: int) -> str:
    from tabulate import tabulate

    def excess() -> int:
        widths = [max(map(len, (key, *column))) for key, column in cells.items()]
        return sum(widths) + 2 * (len(widths) - 1) - width

    for key in _SPARE:
        longest = max(map(len, cells["module"]))
        if key in cells and excess() > max(0, longest - _SHORTEST_NAME):
            del cells[key]
    names = cells["module"]
    room = max(_SHORTEST_NAME, max(map(len, names)) - max(0, excess()))
    cells["module"] = [_end(name, room) for name in names]
    rows = [list(cells), ["─" * max(map(len, (k, *c))) for k, c in cells.items()]]
    text = tabulate(
        [*rows, *zip(*cells.values(), strict=True)],
        tablefmt="plain",
        colalign=["left" if key in ("module", "type") else "right" for key in cells],
        disable_numparse=True,
    )
    return "\n".join(line.rstrip() for line in text.splitlines())


def _end(name: str, room: int) -> str:
    """The end of a name tells modules apart, its beginning is that of many."""
    return name if len(name) <= room else f"…{name[len(name) - room + 1:]}"


def _sentences(rec: Recording, costs: Costs) -> list[str]:
    """What the whole took, what the tracer took of it, and what is not known."""
    said = []
    if rec.has_timing:
        line = f"Measured {words.milliseconds(costs.measured_ns)} ms in modules"
        if costs.corrected_ns is not None and costs.distortion is not None:
            line += (
                "; without the tracer's own cost"
                f" {words.milliseconds(costs.corrected_ns)} ms, give or take"
                f" {words.milliseconds(costs.uncertain_ns or 0)}"
                f" (it took about {costs.distortion:.1%})"
            )
            if not costs.settled:
                line += "; that is too uncertain to go by: the table has what was"
                line += " measured"
        said.append(line + ".")
        said += _cold(rec)
    if costs.flops is not None:
        line = f"{words.scaled(costs.flops)} FLOPs forward"
        if costs.backward_flops is not None:
            line += f", {words.scaled(costs.backward_flops)} backward"
        if costs.uncounted:
            names = ", ".join(costs.uncounted[:_MOST_UNCOUNTED])
            line += f", without what could not be counted: {names}"
        said.append(line + ".")
    if rec.live:
        peak = max(rec.live, key=lambda sample: sample.activations)
        where = "between modules"
        if peak.call is not None:
            where = f"in {rec.calls[peak.call].name or '(root)'}"
        line = f"Activations held at most {words.scaled(peak.activations, 'B')}, "
        whole = words.scaled(memory(rec).total, "B")
        said.append(f"{line}{where}; with parameters and all else {whole}.")
    return [*said, *rec.notes]


def _cold(rec: Recording) -> list[str]:
    """Whether the first batch was slower than the others."""
    turn = batches(rec)
    times: dict[int, int] = {}
    for call in rec.calls:
        if call.parent is None and not call.recomputed:
            at = turn[call.index]
            times[at] = times.get(at, 0) + call.duration_ns
    later = [time for at, time in times.items() if at > 0]
    if rec.dropped_calls or not later or times[0] < _COLD * median(later):
        return []
    first, usual = words.milliseconds(times[0]), words.milliseconds(
        round(median(later))
    )
    return [
        f"The first batch was cold: {first} ms against {usual} ms; one batch before"
        " the block leaves it out."
    ]


def _fill(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
