"""Layers that are built and never called, while one of their like is called twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import finding
from shapetrace.records import Culprit, Diagnosis, Fix, ModuleCall, ModuleInfo, Source
from shapetrace.source.line import find
from shapetrace.source.tree import is_own


@check(
    "layer-never-called",
    "warning",
    "a layer is called on two lines, and its like beside it, built in the same way, on "
    "none: the one does the work of both, and the other stays as it began",
)
def layer_never_called(context: CheckContext) -> Iterator[Diagnosis]:
    rec = context.graph.rec
    if rec.left_out is not None:
        return
    told, used = set[tuple[Source | None, ...]](), _used(context)
    for name, calls in _by_line(context).items():
        places = tuple(call.source for call in calls)
        idle = _idle(context, name, used) if len(calls) > 1 else []
        if idle and places not in told and len(idle) < len(calls):
            told.add(places)
            yield _found(context, calls, idle)


def _by_line(context: CheckContext) -> dict[str, list[ModuleCall]]:
    """The layers that a module calls, with a call for each of its lines, of which
    autograd keeps something."""
    rec = context.graph.rec
    learns = set[int]()
    for at in (call.parent for call in rec.functions if call.grad):
        while at is not None and at not in learns:
            learns.add(at)
            at = rec.calls[at].parent
    found: dict[tuple[str, int], dict[tuple[str, int], ModuleCall]] = {}
    for call in rec.calls:
        around = None if call.parent is None else rec.calls[call.parent]
        if around is None or call.source is None or not is_own(call.source):
            continue
        if call.index in learns:
            lines = found.setdefault((call.name, around.index), {})
            lines.setdefault((call.source.file, call.source.line), call)
    return {name: list(lines.values()) for (name, _), lines in found.items()}


def _used(context: CheckContext) -> set[str]:
    """The parameters that anything is made of with autograd on, by their names: a step
    makes them other tensors."""
    graph = context.graph
    return {
        graph.rec.origins[ref.id].name
        for call in graph.rec.functions
        if call.grad
        for ref in call.inputs
        if graph.is_parameter(ref.id)
    }


def _idle(context: CheckContext, name: str, used: set[str]) -> list[ModuleInfo]:
    """The layers, or blocks of layers, beside one, of the same classes and sizes, of
    whose parameters nothing is made."""
    modules = context.graph.rec.modules
    holder, built = name.rpartition(".")[0], _built(modules, name)
    found = []
    for one in modules.values() if any(sizes for _, sizes in built) else ():
        if one.name.rpartition(".")[0] != holder or one.name == name:
            continue
        held = {
            f"{inner.name}.{ref.path}"
            for inner in _inside(modules, one.name)
            for ref in inner.parameters
        }
        if _built(modules, one.name) == built and not held & used:
            found.append(one)
    return found


def _inside(modules: Mapping[str, ModuleInfo], name: str) -> list[ModuleInfo]:
    """A module, and what it holds."""
    inside = (one for one in modules if f"{one}.".startswith(f"{name}."))
    return [modules[one] for one in inside]


def _built(modules: Mapping[str, ModuleInfo], name: str) -> list[tuple[object, object]]:
    """How a module was built: by class, mode and sizes."""
    return [
        ((one.type, one.training), [ref.shape for ref in one.parameters])
        for one in _inside(modules, name)
    ]


def _found(
    context: CheckContext, calls: list[ModuleCall], idle: list[ModuleInfo]
) -> Diagnosis:
    said = context.graph.said
    first, again = calls[0], calls[1]
    shown = " and ".join(said(one.name) for one in idle[:3])
    lines = " and ".join(str(call.source.line) for call in calls if call.source)
    are = "are" if len(idle) > 1 else "is"
    fixes = [_instead(call, one) for call in calls for one in idle]
    return finding(
        context,
        again,
        f"{said(first.name)} is called on lines {lines}, and {shown}, built in the "
        f"same way, {are} never called.",
        culprits=[
            Culprit("module", idle[0].name, reason="is never called"),
            Culprit(
                "module", first.name, source=again.source, reason="is called twice"
            ),
        ],
        fixes=[
            *[fix for fix in fixes if fix is not None][:1],
            f"call {said(idle[0].name)} on one of these lines",
        ],
        shapes=[("input", ref, None) for ref in again.inputs[:1]],
    )


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
