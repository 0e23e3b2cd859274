"""Traces as pandas DataFrames and CSV files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shapetrace.errors import UsageError
from shapetrace.records import (
    Broadcast,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Recording,
    TensorRef,
)
from shapetrace.views import words
from shapetrace.views.csv import guarded
from shapetrace.views.files import write
from shapetrace.views.marks import (
    FAILURE,
    Marks,
    Remark,
    Remarks,
    all_findings,
    failure_of,
    marks_of,
)
from shapetrace.views.measures import (
    call_measures,
    line_measures,
    module_measures,
    total_measures,
)
from shapetrace.views.parameters import elements
from shapetrace.views.rows import root_ns, status

if TYPE_CHECKING:
    import pandas

    from shapetrace.costs import Costs

Columns = dict[str, Any]
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
    from shapetrace.costs import by_block, by_line, by_type
    from shapetrace.costs import costs as count

    def known() -> Costs:
        return costs if costs is not None else count(rec)

    makers: dict[str, Callable[[], Columns]] = {
        "call": lambda: _calls(rec, marks),
        "module": lambda: _modules(rec, marks),
        "function": lambda: _functions(rec, marks),
        "broadcast": lambda: _broadcasts(broadcasts),
        "type": lambda: total_measures(rec, by_type(rec, known())),
        "block": lambda: total_measures(rec, by_block(rec, known())),
        "line": lambda: line_measures(rec, by_line(rec, known())),
    }
    if by not in makers:
        choices = ", ".join(map(repr, makers))
        raise UsageError(f"there is no frame by {by!r}: by= takes one of {choices}")
    findings = all_findings(findings, failure)
    marks = marks_of(rec, findings)
    columns = makers[by]()
    if by == "call":
        columns.update(call_measures(rec, costs))
    elif by == "module":
        columns.update(module_measures(rec, costs))
    elif by == "function" and costs is not None:
        columns["flops"] = list(costs.function_flops)
        columns["backward_flops"] = list(costs.function_backward_flops)
    made = _typed(columns)
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
    import pandas

    made = frame(rec, findings, by, failure=failure, broadcasts=broadcasts, costs=costs)
    marks = marks_of(rec, all_findings(findings, failure))
    shown = [rec.functions[at] for at in sorted(marks.shown)]
    if shown and by == "call":
        rows = _typed(_function_rows(rec, shown, sorted(marks.shown), marks))
        made = pandas.concat([made, rows]) if len(made) else rows
    for name in made.columns:
        if name.endswith("shapes"):
            made[name] = _written(made[name], _shapes_text)
        elif name.endswith("dtypes"):
            made[name] = _written(made[name], ";".join)
    texts = made.columns[[kind.kind not in "iufb" for kind in made.dtypes]]
    for name in texts:
        made[name] = [guarded(value) for value in made[name]]
    write(path, made.to_csv(index=False, lineterminator="\n"))


def _written(column: Iterable[Any], write: Callable[[Any], str]) -> list[str | None]:
    """Each different value is written once: a trace repeats few of them often."""
    known: dict[Any, str | None] = {None: None}
    cells = []
    for value in column:
        if value not in known:
            known[value] = write(value)
        cells.append(known[value])
    return cells


def _shapes_text(shapes: Shapes) -> str:
    return ";".join(words.shape(sizes, "x") for sizes in shapes)


def _typed(columns: Columns) -> pandas.DataFrame:
    """Objects stay tuples, and columns that may lack a number stay whole numbers."""
    import pandas

    made = {}
    for name, values in columns.items():
        if name.endswith(("_ms", "_per_second")) or name in ("share", "intensity"):
            made[name] = pandas.Series(values, dtype="float64")
        elif name in _WHOLE or name.endswith(("_bytes", "flops")):
            made[name] = pandas.Series(values, dtype="Int64")
        elif name.endswith(("shapes", "dtypes")):
            made[name] = pandas.Series(values, dtype="object")
        elif name in ("direct", "met_target"):
            made[name] = pandas.Series(values, dtype="bool")
        else:
            made[name] = pandas.Series(values, dtype="str")
    return pandas.DataFrame(made)


_WHOLE = {"call", "parent", "depth", "parameters", "calls", "index", "dim", "size"}
_WHOLE |= {"modules"}


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


def _calls(rec: Recording, marks: Marks) -> Columns:
    calls = rec.calls
    own = {name: _own_parameters(info) for name, info in rec.modules.items()}
    columns: Columns = {
        "call": [call.index for call in calls],
        "parent": [call.parent for call in calls],
        "depth": [call.depth for call in calls],
        "name": [call.name for call in calls],
        "type": [call.type for call in calls],
        **_tensor_columns(calls),
    }
    if rec.has_timing:
        base = root_ns(rec)
        columns["start_ms"] = [call.start_ns / 1e6 for call in calls]
        columns["total_ms"] = [call.duration_ns / 1e6 for call in calls]
        columns["self_ms"] = [call.self_ns / 1e6 for call in calls]
        columns["share"] = [_share(call.duration_ns, base) for call in calls]
    columns["parameters"] = [own.get(call.name) for call in calls]
    columns["status"] = [
        status(call.error is not None, call.recomputed) for call in calls
    ]
    columns.update(_endings(calls, marks.calls, range(len(calls))))
    return columns


def _functions(rec: Recording, marks: Marks) -> Columns:
    calls = rec.functions
    names = {call.index: call.name for call in rec.calls}
    columns: Columns = {
        "index": [call.index for call in calls],
        "parent": [call.parent for call in calls],
        "module": [
            None if call.parent is None else names.get(call.parent) for call in calls
        ],
        "name": [call.name for call in calls],
        "qualname": [call.qualname for call in calls],
        **_tensor_columns(calls),
    }
    if rec.has_timing:
        columns["start_ms"] = [call.start_ns / 1e6 for call in calls]
        columns["total_ms"] = [call.duration_ns / 1e6 for call in calls]
    columns["direct"] = [call.direct for call in calls]
    columns["status"] = [status(call.error is not None) for call in calls]
    columns.update(_endings(calls, marks.functions, range(len(calls))))
    return columns


def _function_rows(
    rec: Recording, calls: Sequence[FunctionCall], positions: list[int], marks: Marks
) -> Columns:
    """Functions under the columns of the module calls: they have no call number."""
    depths = {call.index: call.depth for call in rec.calls}
    columns: Columns = {
        "call": [None for _ in calls],
        "parent": [call.parent for call in calls],
        "depth": [
            0 if call.parent is None else depths.get(call.parent, -1) + 1
            for call in calls
        ],
        "name": [call.name for call in calls],
        "type": ["function" for _ in calls],
        **_tensor_columns(calls),
    }
    if rec.has_timing:
        columns["start_ms"] = [call.start_ns / 1e6 for call in calls]
        columns["total_ms"] = [call.duration_ns / 1e6 for call in calls]
    columns["status"] = [status(call.error is not None) for call in calls]
    columns.update(_endings(calls, marks.functions, positions))
    return columns


def _tensor_columns(calls: Sequence[ModuleCall | FunctionCall]) -> Columns:
    names: dict[Any, str] = {}

    def shapes(tensors: Sequence[TensorRef] | None) -> Shapes | None:
        return None if tensors is None else tuple([t.shape for t in tensors])

    def dtypes(tensors: Sequence[TensorRef] | None) -> tuple[str, ...] | None:
        if tensors is None:
            return None
        for tensor in tensors:
            if tensor.dtype not in names:
                names[tensor.dtype] = words.dtype(tensor.dtype)
        return tuple([names[tensor.dtype] for tensor in tensors])

    return {
        "input_shapes": [shapes(call.inputs) for call in calls],
        "output_shapes": [shapes(call.outputs) for call in calls],
        "input_dtypes": [dtypes(call.inputs) for call in calls],
        "output_dtypes": [dtypes(call.outputs) for call in calls],
        "device": [_device(call.inputs, call.outputs) for call in calls],
    }


def _device(
    inputs: Sequence[TensorRef], outputs: Sequence[TensorRef] | None
) -> str | None:
    """Every device that the call's tensors are on."""
    seen = dict.fromkeys([t.device for t in (*inputs, *(outputs or ()))])
    return ";".join(map(str, seen)) or None


def _endings(
    calls: Sequence[ModuleCall | FunctionCall],
    remarks: Remarks,
    positions: Iterable[int],
) -> Columns:
    places: dict[int, str | None] = {}  # few places have many calls
    for call in calls:
        if id(call.source) not in places:
            places[id(call.source)] = words.place(call.source) or None
    return {
        "error": [words.error(call.error) for call in calls],
        "source": [places[id(call.source)] for call in calls],
        "finding": [_said(remarks.get(at, ())) for at in positions],
    }


def _said(remarks: Sequence[Remark]) -> str | None:
    if not remarks:
        return None
    return words.one_line("; ".join(map(str, remarks))) or None


def _own_parameters(info: ModuleInfo) -> int:
    return sum(elements(parameter) for parameter in info.parameters)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _modules(rec: Recording, marks: Marks) -> Columns:
    """Calls of one module together, in the order of their first call."""
    by_name: dict[str, list[ModuleCall]] = defaultdict(list)
    remarks: dict[str, list[Remark]] = defaultdict(list)
    for at, call in enumerate(rec.calls):
        by_name[call.name].append(call)
        remarks[call.name] += marks.calls.get(at, ())
    groups = list(by_name.values())
    columns: Columns = {
        "name": list(by_name),
        "type": [group[0].type for group in groups],
        "calls": [len(group) for group in groups],
        "input_shapes": [_seen(call.inputs for call in group) for group in groups],
        "output_shapes": [_seen(call.outputs for call in group) for group in groups],
    }
    if rec.has_timing:
        base = root_ns(rec)
        totals = [sum(call.duration_ns for call in group) for group in groups]
        columns["total_ms"] = [total / 1e6 for total in totals]
        columns["self_ms"] = [
            sum(call.self_ns for call in group) / 1e6 for group in groups
        ]
        columns["mean_ms"] = [
            total / len(group) / 1e6
            for total, group in zip(totals, groups, strict=True)
        ]
        columns["share"] = [_share(total, base) for total in totals]
    columns["parameters"] = [
        _own_parameters(rec.modules[name]) if name in rec.modules else None
        for name in by_name
    ]
    columns["status"] = [
        status(
            any(call.error is not None for call in group),
            all(call.recomputed for call in group),
        )
        for group in groups
    ]
    columns["finding"] = [_said(remarks[name]) for name in by_name]
    return columns


def _seen(values: Iterable[Sequence[TensorRef] | None]) -> Shapes:
    """Every different shape, in the order of its first use."""
    return tuple(
        dict.fromkeys(tensor.shape for tensors in values for tensor in tensors or ())
    )


def _broadcasts(broadcasts: Sequence[Broadcast]) -> Columns:
    return {
        "call": [found.call for found in broadcasts],
        "name": [found.name for found in broadcasts],
        "stretched": [found.stretched for found in broadcasts],
        "by": [found.by for found in broadcasts],
        "dim": [found.dim for found in broadcasts],
        "size": [found.size for found in broadcasts],
        "shapes": [found.shapes for found in broadcasts],
        "source": [words.place(found.source) or None for found in broadcasts],
        "module": [found.module for found in broadcasts],
        "met_target": [found.met_target for found in broadcasts],
    }
