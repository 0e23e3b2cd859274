"""The rows that the text table and the HTML table show: data, not yet characters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shapetrace.records import Diagnosis, Recording, Source, TensorRef
from shapetrace.views import words
from shapetrace.views.folding import Node, Plan, cap, make_plan, relative
from shapetrace.views.marks import FAILURE, Marks, all_findings, marks_of, words_of
from shapetrace.views.measures import recorded, total
from shapetrace.views.parameters import ParameterCounter

Kind = Literal["call", "function", "pattern", "more"]
DIGITS = "0123456789"


@dataclass(slots=True)
class Row:
    """One row. `parent` is the row above it in the tree; `names` the full names.

    `status` is ok, failed or recomputed; `inside` says that a failed call failed with
    the error of something that it called. `parameters` is None where they are
    unknown; `again` says that an earlier row has counted them.
    """

    label: str
    depth: int
    parent: int | None
    kind: Kind
    #: the label where there is little room
    short: str = ""
    type: str = ""
    names: tuple[str, ...] = ()
    inputs: tuple[TensorRef, ...] = ()
    outputs: tuple[TensorRef, ...] | None = ()
    total_ns: int = 0
    self_ns: int = 0
    parameters: int | None = None
    again: bool = False
    #: what options of the trace have recorded beside, by field of `ModuleCall`
    measures: Mapping[str, int | None] = field(default_factory=dict)
    status: str = "ok"
    inside: bool = False
    remarks: tuple[str, ...] = ()
    count: int = 1
    source: Source | None = None
    error: str | None = None

    @property
    def state(self) -> str:
        """The status and the remarks in a few words; empty when there is nothing."""
        said = [] if self.status == "ok" else [self.status]
        if self.inside:
            said = [f"{self.status} ↓"]
        said += [remark for remark in self.remarks if remark != FAILURE or not said]
        return ", ".join(said)


@dataclass(slots=True)
class Sheet:
    """The rows and what a reader must know to trust them."""

    rows: list[Row]
    findings: tuple[Diagnosis, ...]
    base_ns: int
    #: module calls that share a row with alike ones, and calls in no row at all
    folded: int = 0
    hidden: int = 0
    foreign: bool = False
    #: the fields that `Row.measures` have
    measures: tuple[str, ...] = ()

    def dtypes(self) -> list[str]:
        return words.unique(words.dtype(tensor.dtype) for tensor in self._tensors())

    def devices(self) -> list[str]:
        return words.unique(str(tensor.device) for tensor in self._tensors())

    def _tensors(self) -> Iterator[TensorRef]:
        for row in self.rows:
            yield from row.inputs
            yield from row.outputs or ()


def sheet(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    failure: Diagnosis | None = None,
    *,
    most: int,
) -> Sheet:
    """At most about `most` rows, with everything that failed or is remarked on."""
    findings = all_findings(findings, failure)
    marks = marks_of(rec, findings)
    plan = make_plan(rec, marks)
    count = len(rec.calls)

    def important(node: Node) -> bool:
        first = node.members[0]
        if first >= count:
            return True
        return rec.calls[first].error is not None or first in marks.calls

    cap(plan, most, important)
    made = Sheet([], findings, root_ns(rec), measures=recorded(rec))
    _fill(rec, marks, plan, made)
    return made


def root_ns(rec: Recording) -> int:
    """What shares are shares of: the time of all calls that no call encloses."""
    return sum(call.duration_ns for call in rec.calls if call.parent is None)


def _fill(rec: Recording, marks: Marks, plan: Plan, made: Sheet) -> None:
    count = len(rec.calls)
    counter = ParameterCounter(rec)
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
            row = _call_row(rec, marks, plan, node, parent, counter)
            members = [rec.calls[member] for member in node.members]
            row.measures = {
                name: total(getattr(call, name) for call in members)
                for name in made.measures
            }
            if row.kind == "call" and _is_foreign(rec, plan, first):
                row.label, row.short = f"↗{row.label}", f"↗{row.short}"
                made.foreign = True
        if len(node.members) > 1:
            alike = itertools.islice(node.members, node.pattern, None)
            made.folded += sum(plan.sizes[member] for member in alike)
        rows[at] = len(made.rows)
        made.rows.append(row)
    close_gap()
    for row in made.rows:
        above = None if row.parent is None else made.rows[row.parent]
        if above is not None and row.error is not None and row.error == above.error:
            above.inside = True


def _is_foreign(rec: Recording, plan: Plan, at: int) -> bool:
    """Whether a module is called by one that does not contain it."""
    above = plan.parents[at]
    if above is None:
        return False
    outer, name = rec.calls[above].name, rec.calls[at].name
    return bool(outer) and name != outer and relative(name, outer) == name


def _call_row(
    rec: Recording,
    marks: Marks,
    plan: Plan,
    node: Node,
    parent: int | None,
    counter: ParameterCounter,
) -> Row:
    calls = [rec.calls[member] for member in node.members]
    first = calls[0]
    above = plan.parents[node.members[0]]
    outer = None if above is None else rec.calls[above].name
    rounds = len(calls) // node.pattern
    row = Row(
        label="",
        depth=node.depth,
        parent=parent,
        kind="call",
        total_ns=sum(call.duration_ns for call in calls),
        self_ns=sum(call.self_ns for call in calls),
        names=tuple(words.unique(call.name for call in calls)),
        count=rounds,
    )
    if node.pattern > 1:
        row.kind = "pattern"
        round_ = [relative(call.name, outer) for call in calls[: node.pattern]]
        row.label = row.short = _pattern_label(round_, rounds)
        return row
    names = [relative(name, outer) or "(root)" for name in row.names]
    row.label = _label(names, rounds)
    row.short = _short_label(names, rounds)
    row.type = first.type
    row.inputs, row.outputs = first.inputs, first.outputs
    row.parameters, row.again = counter.count(row.names)
    row.source = first.source
    row.error = words.error(first.error)
    row.status = status(first.error is not None, first.recomputed)
    row.remarks = words_of(marks.calls.get(node.members[0], ()))
    return row


def status(failed: bool, recomputed: bool = False) -> str:
    if failed:
        return "failed"
    return "recomputed" if recomputed else "ok"


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
    return f"{first}…{last.removeprefix(stem)} ×{rounds:,}"


def _pattern_label(names: list[str], rounds: int) -> str:
    shown = words.unique(name or "(root)" for name in names)
    if len(shown) > 3:
        shown[2:] = [f"+{len(shown) - 2} more"]
    return f"({', '.join(shown)}) ×{rounds:,}"


def _function_row(
    rec: Recording, marks: Marks, at: int, node: Node, parent: int | None
) -> Row:
    call = rec.functions[at]
    return Row(
        label=f"{call.name}()",
        depth=node.depth,
        parent=parent,
        kind="function",
        type="function",
        names=(call.qualname or call.name,),
        short=f"{call.name}()",
        inputs=call.inputs,
        outputs=call.outputs,
        total_ns=call.duration_ns,
        self_ns=call.duration_ns,
        status=status(call.error is not None),
        remarks=words_of(marks.functions.get(at, ())),
        source=call.source,
        error=words.error(call.error),
    )


def _more(rec: Recording, plan: Plan, nodes: list[Node], parent: int | None) -> Row:
    """One row for neighbours that the cap hides, with the time that they took."""
    count = len(rec.calls)
    # A pattern's members hold its whole rounds, so every call is counted once.
    members = [m for node in nodes for m in node.members if m < count]
    calls = sum(plan.sizes[member] for member in members)
    return Row(
        label=f"… {calls:,} more calls",
        short=f"… {calls:,} more calls",
        depth=nodes[0].depth,
        parent=parent,
        kind="more",
        total_ns=sum(rec.calls[member].duration_ns for member in members),
        count=calls,
    )
