"""A row of a table that stands where its first rows were meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import Line, find
from shapetrace.source.scope import nodes
from shapetrace.source.tree import last_name

#: calls between the row and where it is added
_NEAR = 4
_SIZES = ("size", "len")


@check(
    "slice-missing",
    "warning",
    "a table is indexed by the length of the data, which takes the one row behind the "
    "last: every step gets the same row, and a slice of the first ones was meant",
)
def slice_missing(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls("getitem", "select"):
        row = (call.outputs or call.inputs)[0]
        if not call.inputs or not _is_table(context, call.inputs[0].id):
            continue
        for at, value in _numbers(call):
            used = _spread(context, row, value) if value > 1 else None
            line = find(call.source)
            if used is None or line is None or not _is_size(line, at):
                continue
            user, data, dim = used
            table = call.inputs[0]
            yield finding(
                context,
                rule,
                call,
                f"{call.name} takes row {value} of {table.shape}, and {user.name} at "
                f"{user.source} gives it to each of the {value} steps of {data.shape}: "
                "no step gets a row of its own.",
                culprits=[culprit(context, call, f"takes one row, {value}")],
                fixes=[_mended(context, call, line, at)],
                shapes=[("table", table, None), ("data", data, dim)],
                way=(data.id, dim),
            )
            break


def _is_table(context: CheckContext, tensor: int) -> bool:
    """Whether no data went into a tensor: a parameter drawn in the trace has none."""
    if context.graph.is_parameter(context.undressed(tensor)):
        return True
    return not context.axes.descends(tensor, DATA)


def _numbers(call: FunctionCall) -> list[tuple[int, int]]:
    """The numbers among the indices, with their places."""
    if call.name == "select":
        index = argument(call, "index", 2)
        return [(-1, index)] if isinstance(index, int) else []
    index = call.args[1] if len(call.args) > 1 else None
    parts = index if isinstance(index, tuple) else (index,)
    return [(at, part) for at, part in enumerate(parts) if type(part) is int]


def _spread(
    context: CheckContext, row: TensorRef, length: int
) -> tuple[FunctionCall, TensorRef, int] | None:
    """The sum or product that stretches a row over as many steps of the data."""
    todo = [(row, 0)]
    while todo:
        ref, steps = todo.pop()
        for user, made in context.follow(ref.id):
            others = [one for one in user.inputs if one.id != ref.id]
            if kind(user.name) in ("sum", "scale") and len(others) == 1:
                data, lead = others[0], len(others[0].shape) - len(ref.shape)
                for dim, size in enumerate(data.shape[:-1]):
                    own = ref.shape[dim - lead] if dim >= lead else 1
                    if size == length and own == 1 and _is_step(context, data, dim):
                        return user, data, dim
            elif kind(user.name) in ("unit", "view", "cast") and steps < _NEAR:
                todo.append((made, steps + 1))
    return None


def _is_step(context: CheckContext, data: TensorRef, dim: int) -> bool:
    """Whether a dimension is one of the data's, a class token before it or not, and no
    batch of what is pooled."""
    roots, axes = context.axes.roots(data.id, dim), context.axes
    if not axes.descends(data.id, DATA) or not axes.sure(data.id, dim):
        return False
    if all(root != "data" for root, _, _ in roots):
        return False
    steps = [d for d, size in enumerate(data.shape[:-1]) if size > 1]
    return len(steps) > 1 or any(root == "data" and at for root, _, at in roots)


def _part(line: Line, at: int) -> ast.expr | None:
    """The expression of one index; the last argument of a select is its index."""
    if isinstance(line.tree, ast.Call):
        given = [*line.tree.args, *(word.value for word in line.tree.keywords)]
        return given[at] if given else None
    if not isinstance(line.tree, ast.Subscript):
        return None
    index = line.tree.slice
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return parts[at] if at < len(parts) else None


def _is_size(line: Line, at: int) -> bool:
    """Whether an index is written as a size: `x.shape[1]`, `x.size(1)`, or a name that
    was given one."""
    part = _part(line, at)
    if part is None:
        return False
    if not isinstance(part, ast.Name):
        return _asks_size(part)
    home = line.file.home(line.node)
    return any(
        isinstance(node, ast.Assign)
        and _asks_size(node.value)
        and any(
            isinstance(one, ast.Name) and one.id == part.id
            for target in node.targets
            for one in ast.walk(target)
        )
        for node, _ in nodes(home)
    )


def _asks_size(node: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Attribute)
        and one.attr == "shape"
        or isinstance(one, ast.Call)
        and last_name(one.func) in _SIZES
        for one in ast.walk(node)
    )


def _first_rows(call: FunctionCall, at: int) -> Change:
    """The index with a slice up to the number that stands there."""
    index = call.args[1]
    if not isinstance(index, tuple):
        return Change(call, settings={"index": slice(None, index)})
    return Change(
        call,
        settings={"index": (*index[:at], slice(None, index[at]), *index[at + 1 :])},
    )


def _mended(
    context: CheckContext, call: FunctionCall, line: Line, at: int
) -> Fix | None:
    part = _part(line, at)
    if part is None or call.name != "getitem":
        return None
    fix = Fix(line.with_part(part, f":{line.text(part)}"), where=line.source)
    return context.trial(fix, _first_rows(call, at))
