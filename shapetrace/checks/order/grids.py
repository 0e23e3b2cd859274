"""Grids of (row, column) that are given to what reads (x, y)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding, is_reported
from shapetrace.lineage.counting import Counting
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

#: what a result goes through in the form it has
_IN_PLACE = ("copy", "cast", "detach", "sum", "scale", "activation", "norm", "dropout")
#: calls behind one another that are looked at for it
_NEAR = 4


@check(
    "grid-order",
    "warning",
    "grid_sample reads a place as (x, y), the column first, and is given (row, "
    "column): it samples a transposed map",
)
def grid_order(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls("grid_sample"):
        if len(call.inputs) < 2 or is_reported(context, rule, call):
            continue
        image, grid = call.inputs[:2]
        joins = _reversed(context, image, grid)
        if joins is None or _turned_before(context, image):
            continue
        if not _turned_after(context, call):
            yield _found(context, rule, call, joins)


def _reversed(
    context: CheckContext, image: TensorRef, grid: TensorRef
) -> list[FunctionCall] | None:
    """The calls that put the components together, where one after the other counts
    along the rows, the columns of this map, the last of which is to be the first.

    It is this map's grid where it has a place for each of the map, or where a layer has
    made of the map what is added to each place.
    """
    last = len(grid.shape) - 1
    if last < 3:
        return None
    joins: list[FunctionCall] = []
    for place in range(last - 1):
        counting = Counting(context.graph)
        if counting.along(grid, {last: place}) != frozenset((place + 1,)):
            return None
        if image.shape[2:] != grid.shape[1:last]:
            roots = context.axes.roots(image.id, place + 2)
            data = {root for root in roots if root[0] == "data"}
            of_this = (
                data <= context.axes.roots(ref.id, dim) for ref, dim in counting.offsets
            )
            if not data or not any(of_this):
                return None
        joins = counting.joins
    return joins


def _turned_before(context: CheckContext, image: TensorRef) -> bool:
    """Whether a map has its rows in the place of its columns."""
    axes = context.axes
    roots = [axes.sole(image.id, dim) for dim in range(2, len(image.shape))]
    known = [root for root in roots if root is not None]
    return len({root[1] for root in known}) < len(known) and known != sorted(
        known, key=lambda root: root[2]
    )


def _turned_after(context: CheckContext, call: FunctionCall) -> bool:
    """Whether what is sampled is transposed by the one who gets it."""
    todo = [(ref, 0) for ref in call.outputs or ()]
    while todo:
        ref, far = todo.pop()
        for user, made in context.follow(ref.id):
            if kind(user.name) == "transpose":
                places = _order(context, user)
                if places != sorted(places):
                    return True
            elif kind(user.name) in _IN_PLACE and made.shape == ref.shape:
                if far < _NEAR:
                    todo.append((made, far + 1))
    return False


def _order(context: CheckContext, call: FunctionCall) -> list[int]:
    """In which order the places of a map stand after a transposition."""
    (dims,) = context.graph.relation(call).outputs
    order = [dim for origin in dims for _, dim in origin.sources]
    return [dim for dim in order if dim > 1]


def _found(
    context: CheckContext, rule: Check, call: FunctionCall, joins: list[FunctionCall]
) -> Diagnosis:
    image, grid = call.inputs[:2]
    sides = "rows, columns" if len(grid.shape) == 4 else "depth, rows, columns"
    made = joins[-1] if joins else call
    fix = _in_other_order(made) if len({*grid.shape[1:-1]}) == 1 else None
    return finding(
        context,
        rule,
        call,
        f"{call.name} reads the last dimension of {grid.shape} as (x, y): the first "
        "component goes along the width. This grid holds them in the other order, "
        f"({sides}), so that the map is sampled transposed.",
        culprits=[
            culprit(context, made, "puts the rows first"),
            culprit(context, call, "reads the columns first"),
        ],
        fixes=[
            fix
            or "put the component that counts along the width first, and scale each by "
            "its own side of the map"
        ],
        shapes=[("map", image, None), ("grid", grid, len(grid.shape) - 1)],
        way=(grid.id, len(grid.shape) - 1),
    )


def _in_other_order(made: FunctionCall) -> Fix | None:
    """The line that puts the components together, with the last one first."""
    line = find(made.source)
    if line is None or not made.direct or made.name not in ("stack", "cat"):
        return None
    if not isinstance(line.tree, ast.Call) or not line.tree.args:
        return None
    parts = line.tree.args[0]
    if isinstance(parts, ast.Tuple | ast.List):
        pairs = list(zip(parts.elts, reversed(parts.elts)))
        return Fix(
            line.with_parts([(one, line.text(other)) for one, other in pairs]),
            where=line.source,
        )
    if isinstance(parts, ast.Call) and last_name(parts.func) == "meshgrid":
        return Fix(
            line.with_part(parts, f"{line.text(parts)}[::-1]"), where=line.source
        )
    return None
