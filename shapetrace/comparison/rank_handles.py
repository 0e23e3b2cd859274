"""Where a program waits for the handle of an asynchronous collective.

`work.wait()` calls no hook and no mode. But what comes just before and just after it
does; where the program's text has nothing but the waiting between the two, the time
between them is the wait.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from shapetrace.records import FunctionCall, ModuleCall, Recording, Source
from shapetrace.source.tree import Tree, last_name, node_at

_Event = FunctionCall | ModuleCall
#: a statement of one of these does one thing after the other, and no more
_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr)


class HandleWait(NamedTuple):
    """The wait for the handle that `begun` returned."""

    begun: FunctionCall
    source: Source
    start_ns: int
    end_ns: int
    #: of what comes after it
    order: int


def handle_waits(rec: Recording, begun: Sequence[FunctionCall]) -> list[HandleWait]:
    """The waits for asynchronous collectives, as far as they are known."""
    beside: dict[int | None, list[_Event]] = defaultdict(list)
    if begun:
        for call in rec.calls:
            if call.thread == 0:
                beside[call.parent].append(call)
        for function in rec.functions:
            beside[function.parent].append(function)
    for events in beside.values():
        events.sort(key=_order)
    found = (_wait(one, beside[one.parent]) for one in begun)
    return [wait for wait in found if wait is not None]


def _wait(begun: FunctionCall, beside: list[_Event]) -> HandleWait | None:
    """The wait for one, of what the same code called."""
    found = node_at(begun.source)
    if found is None:
        return None
    tree, node = found
    if not isinstance(node, ast.Call) or last_name(node.func) != begun.name:
        return None
    launch = tree.statement(node)
    three = _waiting(tree, launch, node)
    if three is None:
        return None
    before, wait, after = three
    last: _Event = begun
    for at in range(bisect_right(beside, begun.order, key=_order), len(beside)):
        event = beside[at]
        if _is_in(event, after, after) and _is_in(last, before, before):
            end = last.start_ns + last.duration_ns
            place = tree.place(wait)
            return HandleWait(begun, place, end, event.start_ns, event.order)
        if not _is_in(event, launch, before):
            return None
        last = event
    return None


def _waiting(
    tree: Tree, launch: ast.stmt, call: ast.AST
) -> tuple[ast.stmt, ast.stmt, ast.stmt] | None:
    """The statement `name.wait()` of what `launch` binds, and its two neighbours."""
    if not isinstance(launch, ast.Assign) or launch.value is not call:
        return None
    body = next(
        (
            block
            for block in vars(tree.parents[launch]).values()
            if isinstance(block, list) and launch in block
        ),
        [],
    )
    names = {one.id for one in launch.targets if isinstance(one, ast.Name)}
    for at in range(body.index(launch) + 1 if body else 0, len(body) - 1):
        if _is_wait(body[at], names):
            before, after = body[at - 1], body[at + 1]
            if isinstance(before, _SIMPLE) and isinstance(after, _SIMPLE):
                return before, body[at], after
            return None
    return None


def _is_wait(statement: ast.stmt, names: set[str]) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "wait"
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in names
    )


def _is_in(event: _Event, first: ast.stmt, last: ast.stmt) -> bool:
    """Whether it was called from one statement or one behind it, to `last`."""
    end = last.end_lineno or last.lineno
    return event.source is not None and first.lineno <= event.source.line <= end


def _order(event: _Event) -> int:
    return event.order
