"""Tensors that a function is given, or keeps, under names that no line reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, explained, finding
from shapetrace.lineage import Call
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, ModuleCall
from shapetrace.source.dead_names import given_up
from shapetrace.source.line import find, line_of
from shapetrace.source.scope import nodes
from shapetrace.source.tree import Tree, function_at, is_own, last_name

#: what a tensor is asked, and is no use of its values
_TOLD = ("size", "shape", "dim", "ndim", "numel", "device", "dtype")


class Run(NamedTuple):
    """A function of the user's that ran, and the calls in it."""

    tree: Tree
    home: ast.FunctionDef
    calls: list[Call]


class Given(NamedTuple):
    """`name = …called(argument)…`, with the call and the argument in it."""

    name: str
    called: str
    node: ast.Call
    argument: ast.Name


@check(
    "name-unread",
    "warning",
    "a tensor has a name that no line reads, and another one is used where it was "
    "meant: a copied line that names the first one still, a residual never added",
)
def name_unread(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for run in _runs(context):
        yield from _kept(context, rule, run)
        yield from _copied(context, rule, run)


def _runs(context: CheckContext) -> list[Run]:
    rec = context.graph.rec
    calls: list[Call] = [*rec.calls, *context.functions]
    found: dict[ast.FunctionDef, Run] = {}
    places: dict[tuple[str, int], Run | None] = {}
    for call in calls:
        if call.source is None or not is_own(call.source):
            continue
        place = call.source.file, call.source.line
        if place not in places:
            at, places[place] = function_at(call.source), None
            if at is not None and isinstance(at[1], ast.FunctionDef):
                run = found.setdefault(at[1], Run(at[0], at[1], []))
                places[place] = run
        known = places[place]
        if known is not None:
            known.calls.append(call)
    return list(found.values())


# -- what was kept before it was changed -----------------------------------------------


def _kept(context: CheckContext, rule: Check, run: Run) -> Iterator[Diagnosis]:
    """`residual = x`, before x is made another one, and never read."""
    for statement in run.home.body:
        if not isinstance(statement, ast.Assign):
            continue
        value = statement.value
        if not isinstance(value, ast.Name):
            continue
        name = given_up(line_of(run.tree, value))
        if name is None or not _is_changed(run, statement, value.id):
            continue
        module = _around(context, run, value.id)
        if module is None:
            continue
        source = run.tree.place(statement)
        reason = f"keeps {value.id} as {name}, and never reads it"
        found = Diagnosis(
            code=rule.code,
            severity=rule.severity,
            message=f"{name} keeps {value.id} before it is changed, and no line of "
            f"{run.home.name} reads it.",
            where=f"module:{module.name}",
            module=module.name,
            source=source,
            culprits=(Culprit("module", module.name, source=source, reason=reason),),
            call=module.index,
        )
        words = f"use {name} where the result is put together, or delete the line"
        shapes = [("input", ref, None) for ref in module.inputs[:1]]
        yield explained(context.graph.rec, found, shapes, words)


def _around(context: CheckContext, run: Run, name: str) -> ModuleCall | None:
    """The module whose code gives a call a tensor by its name."""
    for call in run.calls:
        line = find(call.source)
        if line is None or not isinstance(line.tree, ast.Call):
            continue
        for ref in call.inputs:
            node = line.argument(ref.path, False)
            if isinstance(node, ast.Name) and node.id == name:
                if isinstance(call, FunctionCall):
                    return context.graph.module_of(call)
                parent = call.parent
                return None if parent is None else context.graph.rec.calls[parent]
    return None


def _is_changed(run: Run, statement: ast.Assign, name: str) -> bool:
    """Whether a name is given another value behind a statement."""
    return any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Store)
        and node.lineno > statement.lineno
        for node, _ in nodes(run.home)
    )


# -- a line that was copied ------------------------------------------------------------


def _copied(context: CheckContext, rule: Check, run: Run) -> Iterator[Diagnosis]:
    """`y_norm = normalize(x)` beside `x_norm = normalize(x)`, where y is handed in and
    nobody reads it."""
    unread = [one.arg for one in run.home.args.args if _is_unread(run, one.arg)]
    lines = list(_given(run)) if unread else []
    for one in lines:
        first = one.argument.id
        like = {
            other.name
            for other in lines
            if (other.called, other.argument.id) == (one.called, first)
        } - {one.name}
        for name in unread:
            of = next((o for o in like if _renamed(o, first, name) == one.name), None)
            call = _call_of(run, one.node) if of is not None else None
            if call is not None:
                yield finding(
                    context,
                    rule,
                    call,
                    f"{one.called} makes {one.name} of {first}, as it makes {of}, and "
                    f"no line of {run.home.name} reads {name}.",
                    culprits=[culprit(context, call, f"takes {first}")],
                    fixes=[_instead(run, one, name)],
                    shapes=[("given", call.inputs[0], None)],
                    way=(call.inputs[0].id, None),
                )


def _is_unread(run: Run, name: str) -> bool:
    """Whether no line reads the values of a parameter before it has another value: its
    sizes, and whether it is None, are no values."""
    idle = set[ast.AST]()
    first = None
    for node, _ in nodes(run.home):
        if isinstance(node, ast.Attribute) and node.attr in _TOLD:
            idle.add(node.value)
        elif isinstance(node, ast.Compare) and isinstance(
            node.ops[0], ast.Is | ast.IsNot
        ):
            idle.add(node.left)
        elif isinstance(node, ast.Name) and node.id == name:
            if isinstance(node.ctx, ast.Store) and (
                first is None or node.lineno < first
            ):
                first = node.lineno
    return not any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and node not in idle
        and (first is None or node.lineno <= first)
        for node in ast.walk(run.home)
    )


def _given(run: Run) -> Iterator[Given]:
    """The calls of one name each that stand in what another name is given."""
    for statement, _ in nodes(run.home):
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target = statement.targets[0]
        for node in ast.walk(statement.value) if isinstance(target, ast.Name) else ():
            if not isinstance(node, ast.Call):
                continue
            called = last_name(node.func)
            given = [*node.args[:1]]
            if isinstance(node.func, ast.Attribute):
                given.append(node.func.value)
            for argument in given:
                if isinstance(argument, ast.Name):
                    assert isinstance(target, ast.Name)
                    yield Given(target.id, called, node, argument)


def _renamed(name: str, first: str, other: str) -> str:
    """`x_norm` of x as that of y."""
    return "_".join(other if part == first else part for part in name.split("_"))


def _call_of(run: Run, node: ast.Call) -> FunctionCall | None:
    place = run.tree.place(node)
    for call in run.calls:
        if isinstance(call, FunctionCall) and call.source is not None:
            at = call.source
            if (at.line, at.column) == (place.line, place.column) and call.inputs:
                return call
    return None


def _instead(run: Run, one: Given, name: str) -> Fix:
    line = line_of(run.tree, one.node)
    return Fix(line.with_part(one.argument, name), where=line.source)
