"""A finding as a `Diagnosis`: where it is, who caused it, and the text in its order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import CHECKS, Check
from shapetrace.diagnosis.sites import culprit_of_data
from shapetrace.diagnosis.sites import owner as owner_of
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.words.operand_rows import kind
from shapetrace.diagnosis.words.text import replaced, told
from shapetrace.diagnosis.words.unexplained import where_of
from shapetrace.lineage import steps
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    Operand,
    Recording,
    Severity,
    Step,
    TensorRef,
)


def culprit(
    context: CheckContext,
    call: FunctionCall,
    reason: str = "",
    dim: int | None = None,
    size: int | None = None,
    expected: int | None = None,
) -> Culprit:
    """The layer that made a call, or the function itself."""
    site = site_of_call(context.graph, call)
    name = site.name if site.kind == "module" else plain(site.name)
    return Culprit(site.kind, name, dim, size, expected, call.source, reason)


def data_culprit(
    context: CheckContext,
    tensor: int,
    reason: str = "",
    dim: int | None = None,
    size: int | None = None,
    expected: int | None = None,
) -> Culprit:
    """A tensor of the user's: the target of a loss, or the input."""
    return culprit_of_data(
        context.graph,
        tensor,
        target=tensor in context.targets or tensor not in context.module_inputs,
        dim=dim,
        size=size,
        expected=expected,
        reason=reason,
    )


def size_culprit(
    context: CheckContext,
    tensor: int,
    dim: int,
    reason: str,
    expected: int | None = None,
) -> Culprit | None:
    """Who gave a dimension its size: a layer, a function, or the data."""
    graph = context.graph
    size = graph.size(tensor, dim)
    trail = graph.trail(tensor, dim)
    end = trail.end
    call = end.call
    if end.kind == "parameter":
        owner = owner_of(context.graph, end.tensor)
        if owner is None and isinstance(call, FunctionCall):
            return culprit(context, call, reason, dim, size, expected)
        if owner is None:
            return None
        source = call.source if call is not None else None
        return Culprit("module", owner, dim, size, expected, source, reason)
    if end.kind == "data":
        return data_culprit(context, end.tensor, reason, dim, size, expected)
    if isinstance(call, FunctionCall):
        return culprit(context, call, reason, dim, size, expected)
    return None


def is_reported(context: CheckContext, rule: Check, call: FunctionCall) -> bool:
    """Whether the same was found at this place before, as in each step of a loop."""
    key = rule.code, where_of(context.graph, call), call.source
    return call.source is not None and key in context.reported


def finding(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    message: str,
    *,
    culprits: Iterable[Culprit | None],
    fixes: Sequence[Fix | str | None] = (),
    shapes: Sequence[tuple[str, TensorRef, int | None]] = (),
    way: tuple[int, int | None] | None = None,
    severity: Severity | None = None,
) -> Diagnosis:
    """The Diagnosis of one finding.

    `shapes` are (label, tensor, odd dimension); `way` the tensor, and its dimension,
    whose way back is told. A fix is a line to paste; where there is none, words say
    what to do.
    """
    place = where_of(context.graph, call)
    if is_reported(context, rule, call):
        return Diagnosis(rule.code, "note", message, where=place, source=call.source)
    context.reported.add((rule.code, place, call.source))
    named: list[Culprit] = []
    for one in culprits:
        if one is not None and all(one.name != known.name for known in named):
            named.append(one)
    named = named[:3]
    lineage: tuple[Step, ...] = ()
    if way is not None:
        lineage = steps(context.graph, way[0], way[1])
    module = context.graph.module_of(call)
    lines = tuple(
        fix for fix in fixes if isinstance(fix, Fix) and fix.line != replaced(fix)
    )
    advice = next((fix for fix in fixes if isinstance(fix, str) and not lines), "")
    found = Diagnosis(
        code=rule.code,
        severity=severity or rule.severity,
        message=message,
        where=place,
        module=None if module is None else module.name,
        source=call.source,
        culprits=tuple(named),
        lineage=lineage,
        fixes=lines,
        function=call.index,
        call=None if module is None else module.index,
    )
    return explained(context.graph.rec, found, shapes, advice)


def explained(
    rec: Recording,
    found: Diagnosis,
    shapes: Sequence[tuple[str, TensorRef, int | None]],
    advice: str = "",
) -> Diagnosis:
    """A finding with its text, which ends with why it matters and how to silence it."""
    operands = tuple(
        Operand(label, ref.shape, kind(ref), odd) for label, ref, odd in shapes
    )
    remarks = (
        *([f"What to do: {advice}."] if advice else []),
        f"What it means: {CHECKS[found.code].summary}.",
        f"Where it is meant: # shapetrace: ignore[{found.code}]",
    )
    return told(rec, replace(found, operands=operands, remarks=remarks))
