"""The rows that the text table and the HTML table show: data, not yet characters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

from shapetrace.errors import UsageError
from shapetrace.records import Diagnosis, Recording
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.columns import COLUMNS, Column, Context, Group, Kind, named
from shapetrace.views.folding import (
    Node,
    Plan,
    cap,
    fitting_depth,
    kept,
    make_plan,
    relative,
)
from shapetrace.views.marks import Marks, all_findings, marks_of

if TYPE_CHECKING:
    from shapetrace.costs import Costs

DIGITS = "0123456789"


@dataclass(slots=True)
class Row:
    """One row. `parent` is the row above it in the tree, `group` what it tells of.

    `label` names it as seen from the row above, `short` where there is little room;
    `count` is how many rounds, or calls that are left out, it stands for.
    """

    label: str
    depth: int
    parent: int | None
    group: Group
    short: str = ""
    count: int = 1

    @property
    def kind(self) -> Kind:
        return self.group.kind

    @property
    def error(self) -> str | None:
        """What the call raised."""
        if self.kind in ("pattern", "more"):
            return None
        return words.error(self.group.first.error)


@dataclass(slots=True)
class Sheet:
    """The rows, the columns with their values, and what a reader must know."""

    rows: list[Row]
    findings: tuple[Diagnosis, ...]
    context: Context
    #: module calls that share a row with alike ones, calls in no row at all, and calls
    #: deeper than was asked for
    folded: int = 0
    hidden: int = 0
    deeper: int = 0
    #: of a table that is cut to so many levels by itself the level, and the deepest
    levels: tuple[int, int] | None = None
    foreign: bool = False
    columns: dict[Column, list[Any]] = field(default_factory=dict)


def sheet(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    failure: Diagnosis | None = None,
    *,
    most: int,
    readable: int | None = None,
    depth: int | None = None,
    columns: Collection[str] | None = None,
    sort: str | None = None,
    costs: Callable[[], Costs] | None = None,
) -> Sheet:
    """At most about `most` rows, with everything that failed or is remarked on.

    Where there are more than `readable` and no depth was asked for, as many whole
    levels are shown as make no more than that.

    Raises:
        UsageError: if a column is unknown, or a depth below 0.
    """
    if depth is not None and depth < 0:
        raise UsageError(
            f"depth={depth}: it counts levels below the outermost modules, 0 and more."
        )
    findings = all_findings(findings, failure)
    marks = marks_of(rec, findings)
    plan = make_plan(rec, marks)
    count = len(rec.calls)

    def important(node: Node) -> bool:
        first = node.members[0]
        if first >= count:
            return True
        return rec.calls[first].error is not None or first in marks.calls

    context = Context(rec, costs, [rec.functions[at] for at in sorted(marks.shown)])
    made = Sheet([], findings, context)
    keep = kept(plan, important)
    if depth is not None:
        made.deeper = _cut_below(plan, depth, count, [False] * len(keep))
    elif readable is not None:
        level = fitting_depth(plan, readable, keep)
        if level is not None:
            made.levels = level, max(node.depth for node in plan.nodes)
            made.deeper = _cut_below(plan, level, count, keep)
    cap(plan, most, kept(plan, important))
    _fill(rec, marks, plan, made)
    if sort is not None:
        _sort(made, sort)
    groups = [row.group for row in made.rows]
    for column in _chosen(columns, context):
        values = column.of(groups, context)
        if columns is not None or any(values):
            made.columns[column] = values
    return made


def _chosen(names: Collection[str] | None, context: Context) -> Sequence[Column]:
    if names is not None:
        return named(names)
    # whether a table has it is asked first: what it costs may be long to work out
    return [one for one in COLUMNS if one.tables(context) and one.when(context)]


def _cut_below(plan: Plan, depth: int, count: int, keep: list[bool]) -> int:
    """Leave out what lies deeper and is not kept; returns how many calls that are."""
    shown = [node.depth <= depth or keeps for node, keeps in zip(plan.nodes, keep)]
    left = list(compress(plan.nodes, shown))
    at = {id(node): place for place, node in enumerate(left)}
    cut = sum(
        len(node.shown)
        for node, shows in zip(plan.nodes, shown)
        if not shows and node.pattern == 1 and node.members[0] < count
    )
    for node in left:
        if node.parent is not None:
            node.parent = at[id(plan.nodes[node.parent])]
    plan.nodes[:] = left
    return cut


def _sort(made: Sheet, name: str) -> None:
    """One list, the largest first, in place of the tree."""
    (column,) = named((name,), "sort")
    rows = [row for row in made.rows if row.kind in ("call", "function")]
    values = column.of([row.group for row in rows], made.context)
    numbers = [value if isinstance(value, int | float) else 0 for value in values]
    if not any(numbers):  # names, shapes, places
        order = sorted(range(len(rows)), key=lambda at: str(values[at]))
    else:
        order = sorted(range(len(rows)), key=lambda at: -numbers[at])
    made.rows = [rows[at] for at in order]
    for row in made.rows:
        row.depth, row.parent = 0, None
        if row.kind == "call":
            called = made.context.rec.called
            names = [spoken(called, name) or words.ROOT for name in row.group.names]
            row.label, row.short = _label(names, 1), _short_label(names, 1)
            if len(row.group.calls) > 1:
                row.label += f" ×{len(row.group.calls):,}"
                row.short += f" ×{len(row.group.calls):,}"


def _fill(rec: Recording, marks: Marks, plan: Plan, made: Sheet) -> None:
    count = len(rec.calls)
    rows: dict[int, int] = {}
    hidden: list[Node] = []

    def close_gap() -> None:
        if not hidden:
            return
        first = hidden[0]
        parent = None if first.parent is None else rows[first.parent]
        made.rows.append(_more(rec, plan, hidden, parent))
        made.hidden += made.rows[-1].count
        hidden.clear()

    for at, node in enumerate(plan.nodes):
        if node.hidden:
            if node.parent is None or node.parent in rows:
                if hidden and hidden[0].parent != node.parent:
                    close_gap()
                hidden.append(node)
            continue
        close_gap()
        parent = None if node.parent is None else rows[node.parent]
        first = node.members[0]
        if first >= count:
            row = _function_row(rec, marks, first - count, node, parent)
        else:
            row = _call_row(rec, marks, plan, node, parent)
            if row.kind == "call" and _is_foreign(rec, plan, first):
                row.label, row.short = f"↗{row.label}", f"↗{row.short}"
                made.foreign = True
            made.folded += sum(plan.sizes[one] for one in node.shown[node.pattern :])
        rows[at] = len(made.rows)
        made.rows.append(row)
    close_gap()
    for row in made.rows:
        above = None if row.parent is None else made.rows[row.parent]
        if above is not None and row.error is not None and row.error == above.error:
            above.group.inside = True


def _is_foreign(rec: Recording, plan: Plan, at: int) -> bool:
    """Whether a module is called by one that does not contain it."""
    above = plan.parents[at]
    if above is None:
        return False
    outer, name = rec.calls[above].name, rec.calls[at].name
    return bool(outer) and name != outer and relative(name, outer) == name


def _call_row(
    rec: Recording, marks: Marks, plan: Plan, node: Node, parent: int | None
) -> Row:
    above = plan.parents[node.members[0]]
    outer = None if above is None else rec.calls[above].name
    names = [rec.calls[one].name for one in node.shown]
    seen = [
        (spoken(rec.called, name) if outer is None else relative(name, outer))
        or words.ROOT
        for name in names
    ]
    rounds = len(node.shown) // node.pattern
    calls = [rec.calls[member] for member in node.members]
    if node.pattern > 1:
        label = _pattern_label(seen[: node.pattern], rounds)
        group = Group(calls, "pattern")
        return Row(label, node.depth, parent, group, label, rounds)
    names = words.unique(seen)
    remarks = marks.calls.get(node.members[0], ())
    return Row(
        _label(names, rounds),
        node.depth,
        parent,
        Group(calls, "call", remarks),
        _short_label(names, rounds),
        rounds,
    )


def _label(names: list[str], rounds: int) -> str:
    """`layers.0 … layers.11 ×12`."""
    label = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
    return label if rounds == 1 else f"{label} ×{rounds:,}"


def _short_label(names: list[str], rounds: int) -> str:
    """`layers.0…11 ×12`, where the names differ in one trailing number."""
    first, last = names[0], names[-1]
    stem = first.rstrip(DIGITS)
    if len(names) == 1 or stem != last.rstrip(DIGITS) or stem == first:
        return _label(names, rounds)
    label = f"{first}…{last.removeprefix(stem)}"
    return label if rounds == 1 else f"{label} ×{rounds:,}"


def _pattern_label(names: list[str], rounds: int) -> str:
    shown = words.unique(names)
    if len(shown) > 3:
        shown[2:] = [f"+{len(shown) - 2} more"]
    return f"({', '.join(shown)}) ×{rounds:,}"


def _function_row(
    rec: Recording, marks: Marks, at: int, node: Node, parent: int | None
) -> Row:
    call = rec.functions[at]
    group = Group((call,), "function", marks.functions.get(at, ()))
    return Row(f"{call.name}()", node.depth, parent, group, f"{call.name}()")


def _more(rec: Recording, plan: Plan, nodes: list[Node], parent: int | None) -> Row:
    """One row for neighbours that the cap hides, with the time that they took."""
    count = len(rec.calls)
    # A pattern's members hold its whole rounds, so every call is counted once.
    shown = [one for node in nodes for one in node.shown if one < count]
    members = [one for node in nodes for one in node.members if one < count]
    calls = sum(plan.sizes[one] for one in shown)
    label = f"… {calls:,} more calls"
    group = Group([rec.calls[one] for one in members], "more")
    return Row(label, nodes[0].depth, parent, group, label, calls)
