"""Results under a name that is given another value before anything reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.results.layers import unwatched
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.lineage.hops import Call
from shapetrace.records import FunctionCall, Source, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import Line, find


class Lost(NamedTuple):
    """A call whose result nobody reads: its name is given another value by `later`."""

    call: Call
    made: TensorRef
    line: Line
    later: ast.Assign


def lost_values(context: CheckContext) -> Iterator[Lost]:
    """What learns, was given a name in a forward and is used by nobody, before the same
    block gives the name another value: `out = f(x)` and `out = g(x)` below it."""
    graph = context.graph
    entered = context.module_inputs
    seen: set[Source | None] = set()
    calls: list[Call] = [*context.functions, *graph.rec.calls]
    for call in calls:
        outputs = call.outputs or ()
        if len(outputs) != 1 or call.parent is None or call.source in seen:
            continue
        made = outputs[0]
        returned = graph.rec.calls[call.parent].outputs or ()
        used = graph.users.get(made.id) or made.id in entered
        if used or any(ref.id == made.id for ref in returned):
            continue
        line = find(call.source) if _learns(context, call, made) else None
        later = None if line is None else _again(line)
        if line is not None and later is not None:
            seen.add(call.source)
            yield Lost(call, made, line, later)


def _learns(context: CheckContext, call: Call, made: TensorRef) -> bool:
    """Whether a call of the user's makes, and does not only change, what learns."""
    if isinstance(call, FunctionCall):
        if not call.direct or call.name.endswith("_") or kind(call.name) == "write":
            return False
    elif unwatched(call):
        return False
    return bool(made.shape) and context.axes.descends(made.id, RECORDED)


def _again(line: Line) -> ast.Assign | None:
    """The statement after it, of the same block, that assigns the name once more, with
    nothing between them that reads it."""
    statement = line.file.statement(line.node)
    name = _name(statement)
    if name is None or not isinstance(statement, ast.Assign):
        return None
    if statement.value is not line.node:
        return None
    outer = line.file.parents.get(statement)
    for field in ("body", "orelse", "finalbody"):
        block = getattr(outer, field, None)
        if isinstance(block, list) and statement in block:
            return _next(block[block.index(statement) + 1 :], name)
    return None


def _next(block: list[ast.stmt], name: str) -> ast.Assign | None:
    for each in block:
        if isinstance(each, ast.Assign) and _name(each) == name:
            return None if _reads(each.value, name) else each
        if not isinstance(each, (ast.Assign, ast.Expr)) or _reads(each, name):
            return None  # a branch, a loop: what it does is not followed
    return None


def _name(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name) and not target.id.startswith("_"):
            return target.id
    return None


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))
