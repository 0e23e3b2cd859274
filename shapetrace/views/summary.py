"""The summary by module: what is slow and what is large, the slowest first."""

from __future__ import annotations

import shutil
import textwrap
from statistics import median

from shapetrace.costs import Costs, Steps, batches, held, memory
from shapetrace.records import Recording
from shapetrace.records.garbage import uncollected
from shapetrace.records.printable import printable
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.columns import Context, Group, named
from shapetrace.views.columns.measures import cost, own_ns
from shapetrace.views.groups import by_module as groups_by_module
from shapetrace.views.marks import Marks
from shapetrace.views.sentences import title
from shapetrace.views.text import NARROWEST, WIDTH

Cells = dict[str, list[str]]

_COLUMNS = (
    *("type", "calls", "own_device_ms", "own_device_share", "net_device_ms"),
    *("own_ms", "own_share", "net_ms", "net_first_ms", "net_median_ms", "net_p95_ms"),
    *("backward_ms", "recompute_ms"),
    *("saved_bytes", "allocated_bytes", "flops", "moved_bytes", "flops_per_second"),
    "backward_flops",
)

_MOST_ROWS = 30
_MOST_UNCOUNTED = 8
_MOST_TYPES = 8
#: a first batch that takes so many times as long as the others is told of
_COLD = 1.2
_SHORTEST_NAME = 22
#: less of the time than this, waited for a processor, is not worth a word
_WAITED = 0.01
#: an accelerator that runs dry at the end of so many calls waits for the processor
_IDLE = 0.25
#: from the first to the last that goes where there is no room
_SPARE = (
    *("first ms", "p95 ms", "moved", "FLOP/s", "bwd FLOPs"),
    *("median ms", "type", "total ms"),
)


@uncollected()
def by_module(
    rec: Recording,
    costs: Costs,
    steps: Steps,
    width: int | None = None,
    *,
    name: str = "t",
) -> str:
    """One row a module, sorted by its own time, on an accelerator where it has such, in
    at most `width` columns. `name`: the variable in which its reader has the trace."""
    if width is None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
    width = max(width, NARROWEST)
    context = Context(rec, lambda: costs)
    groups = groups_by_module(rec, Marks())
    if not groups:
        return printable(f"{title(rec)}: no module was called")
    own = _own(groups, context)
    order = sorted(range(len(groups)), key=lambda at: -own[at])
    shown = [groups[at] for at in order[:_MOST_ROWS]]
    lines = [_draw(_cells(shown, context), width)]
    lines += _rest([groups[at] for at in order[_MOST_ROWS:]], context, name)
    lines += _sentences(rec, costs, name)
    text = "\n".join([lines[0], "", *(_fill(line, width) for line in lines[1:])])
    return printable(f"{steps}\n\n{text}" if rec.has_timing else text)


def _own(groups: list[Group], context: Context) -> list[int]:
    """By which the modules are ordered: where an accelerator computes, the processor's
    time is that of asking it to."""
    if "device_ns" in context.filled:
        return [one or 0 for one in cost("own_device_ns")(groups, context)]
    return own_ns(groups, context)


def _rest(groups: list[Group], context: Context, name: str) -> list[str]:
    """What has no row, by type."""
    if not groups:
        return []
    by_type: dict[str, list[int]] = {}
    whole = context.own_ns
    if "device_ns" in context.filled:
        whole = context.own_device_ns
    for group, own in zip(groups, _own(groups, context), strict=True):
        by_type.setdefault(group.first.type, []).append(own)
    said = []
    for kind in sorted(by_type, key=lambda one: -sum(by_type[one])):
        share = words.percent(sum(by_type[kind]), whole)
        said.append(f"{len(by_type[kind])} {kind}" + (f" ({share})" if share else ""))
    more = words.plural(len(groups), "more module")
    few = ", ".join(said[:_MOST_TYPES]) + (", …" if len(said) > _MOST_TYPES else "")
    frame = f"{name}.to_dataframe(by='module')"
    return [f"… and {more}: {few}; {frame} and by='type' have all."]


def _cells(groups: list[Group], context: Context) -> Cells:
    """The columns by title, those that have nothing to say left out."""
    called = context.rec.called
    cells = {"module": [spoken(called, one.first.name) or words.ROOT for one in groups]}
    for column in named(_COLUMNS):
        if not column.when(context):
            continue
        values = column.of(groups, context)
        if any(values):
            cells[column.title] = column.cells(groups, values)
    return cells


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


def _sentences(rec: Recording, costs: Costs, trace: str) -> list[str]:
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
            if costs.waited_ns >= _WAITED * costs.measured_ns:
                line += (
                    f" and the {words.milliseconds(costs.waited_ns)} ms in which other"
                    " work had the processor"
                )
            if not costs.settled:
                line += "; that is too uncertain to go by: the table has what was"
                line += " measured"
        said.append(line + ".")
        said += _cold(rec, costs, trace)
        said += _idle(rec)
    if costs.flops is not None:
        line = f"{words.scaled(costs.flops)} FLOPs forward"
        if costs.backward_flops is not None:
            line += f", {words.scaled(costs.backward_flops)} backward"
        if costs.uncounted:
            names = ", ".join(costs.uncounted[:_MOST_UNCOUNTED])
            line += f", without what could not be counted: {names}"
        said.append(line + ".")
    if rec.live:
        peak = max(held(rec, costs), key=lambda sample: sample.activations)
        where = "between modules"
        if peak.call is not None:
            name = rec.calls[peak.call].name
            where = f"in {spoken(rec.called, name) or words.ROOT}"
        line = f"Activations held at most {words.scaled(peak.activations, 'B')}, "
        whole = words.scaled(memory(rec, costs).total, "B")
        said.append(f"{line}{where}; with parameters and all else {whole}.")
    return [*said, *rec.notes]


def _idle(rec: Recording) -> list[str]:
    """Whether an accelerator had to wait for much of what it was asked."""
    known = [call.device_idle for call in rec.calls if call.device_ns is not None]
    if not known or sum(known) < _IDLE * len(known):
        return []
    return [
        f"At the end of {sum(known) / len(known):.0%} of the calls the accelerator had "
        "nothing left to do: it waits for the processor, and what its calls take there "
        "is mostly that. Larger batches, torch.compile or CUDA graphs keep it busy."
    ]


def _cold(rec: Recording, costs: Costs, trace: str) -> list[str]:
    """Whether the first batch was slower than the others, and did not only wait."""
    turn = batches(rec)
    times: dict[int, int] = {}
    for call in rec.calls:
        if call.parent is None and not call.recomputed:
            at = turn[call.index]
            known = costs.calls[call.index].corrected_ns if costs.settled else None
            took = call.duration_ns if known is None else known
            times[at] = times.get(at, 0) + took
    later = [time for at, time in times.items() if at > 0]
    if not rec.has_first or not later or times[0] < _COLD * median(later):
        return []
    first, usual = words.milliseconds(times[0]), words.milliseconds(
        round(median(later))
    )
    return [
        f"The first batch was cold: {first} ms against {usual} ms; {trace}.warm()"
        " leaves it out."
    ]


def _fill(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
