"""Layers that are built and never called, while one of their like is called twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained
from shapetrace.records import Culprit, Diagnosis, Fix, ModuleCall, ModuleInfo, Source
from shapetrace.source.line import find
from shapetrace.source.tree import is_own


@check(
    "layer-never-called",
    "warning",
    "a layer is called on two lines, and its like beside it, built in the same way, on "
    "none: the one does the work of both, and the other stays as it began",
)
def layer_never_called(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    rec = context.graph.rec
    if rec.left_out is not None:
        return
    told = set[tuple[Source | None, ...]]()
    for name, calls in _by_line(context).items():
        places = tuple(call.source for call in calls)
        idle = _idle(context, name)
        if idle and places not in told and len(idle) < len(calls):
            told.add(places)
            yield _found(context, rule, calls, idle)


def _by_line(context: CheckContext) -> dict[str, list[ModuleCall]]:
    """The layers that a module calls, with a call for each of its lines, of which
    autograd keeps something."""
    rec = context.graph.rec
    learns = {call.parent for call in rec.functions if call.grad}
    found: dict[tuple[str, int], dict[tuple[str, int], ModuleCall]] = {}
    for call in rec.calls:
        around = None if call.parent is None else rec.calls[call.parent]
        if around is None or call.source is None or not is_own(call.source):
            continue
        if call.index in learns:
            lines = found.setdefault((call.name, around.index), {})
            lines.setdefault((call.source.file, call.source.line), call)
    return {name: list(lines.values()) for (name, _), lines in found.items()}


def _idle(context: CheckContext, name: str) -> list[ModuleInfo]:
    """The layers beside one, of the same class and sizes, of whose parameters nothing
    is made."""
    modules, holder = context.graph.rec.modules, name.rpartition(".")[0]
    info, users = modules[name], context.graph.users
    sizes = [ref.shape for ref in info.parameters]
    if not sizes:
        return []
    return [
        one
        for one in modules.values()
        if one.name.rpartition(".")[0] == holder
        and one.name != name
        and (one.type, one.training) == (info.type, info.training)
        and [ref.shape for ref in one.parameters] == sizes
        and not any(users.get(ref.id) for ref in one.parameters)
    ]


def _found(
    context: CheckContext,
    rule: Check,
    calls: list[ModuleCall],
    idle: list[ModuleInfo],
) -> Diagnosis:
    said = context.graph.said
    first, again = calls[0], calls[1]
    shown = " and ".join(said(one.name) for one in idle[:3])
    lines = " and ".join(str(call.source.line) for call in calls if call.source)
    are = "are" if len(idle) > 1 else "is"
    fixes = [_instead(call, one) for call in calls for one in idle]
    found = Diagnosis(
        code=rule.code,
        severity=rule.severity,
        message=f"{said(first.name)} is called on lines {lines}, and {shown}, built in "
        f"the same way, {are} never called.",
        where=f"module:{first.name}",
        module=first.name,
        source=again.source,
        culprits=(
            Culprit("module", idle[0].name, reason="is never called"),
            Culprit(
                "module", first.name, source=again.source, reason="is called twice"
            ),
        ),
        fixes=tuple(fix for fix in fixes if fix is not None)[:1],
        call=again.index,
    )
    words = f"call {said(idle[0].name)} on one of these lines"
    shapes = [("input", ref, None) for ref in again.inputs[:1]]
    return explained(context.graph.rec, found, shapes, "" if found.fixes else words)


def _instead(call: ModuleCall, idle: ModuleInfo) -> Fix | None:
    """`query = self.query(x)` for `query = self.key(x)`: the layer that is called as
    what comes of it."""
    line, own = find(call.source), idle.name.rpartition(".")[2]
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    statement, func = line.file.statement(line.node), line.tree.func
    if not isinstance(statement, ast.Assign) or not isinstance(func, ast.Attribute):
        return None
    if own not in {ast.unparse(target) for target in statement.targets}:
        return None
    new = f"{line.text(func.value)}.{own}"
    return Fix(line.with_part(func, new), where=line.source)
