"""Pairs that come apart: one side repeated as a whole, the other each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.lines import interleaved, operand
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.lineage.factors import Axis
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind


@check(
    "pairs-apart",
    "warning",
    "rows are put side by side that do not belong together: one tensor was repeated as "
    "a whole (a b a b), the other each row for itself (a a b b)",
)
def pairs_apart(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    if not context.of_kind("repeat", "view"):
        return
    for call in context.functions:
        if kind(call.name) not in _PAIRS and call.index not in context.sides:
            continue
        tensors = [ref for ref in call.inputs if ref.shape and ref.shape[0] > 1]
        if len(tensors) != 2 or not call.outputs:
            continue
        turned = _turned(context, rule, call, tensors[0], tensors[1])
        if turned is not None:
            yield turned
            continue
        one, two = tensors
        if one.shape[0] != two.shape[0] or len(one.shape) != len(two.shape):
            continue
        sides = [context.axes.of(ref.id, 0) for ref in (one, two)]
        if _crossed(*sides):
            repeat = _repeat(context, one) or _repeat(context, two)
            if repeat is not None:
                yield _apart(context, rule, call, one, two, sides, repeat)


def _turned(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    one: TensorRef,
    two: TensorRef,
) -> Diagnosis | None:
    """Two tensors whose rows are the same dimensions of the data, merged in another
    order: `(time, batch)` flattened on one side, `(batch, time)` on the other."""
    sides = [context.axes.of(ref.id, 0) for ref in (one, two)]
    if one.shape[0] != two.shape[0] or not _other_order(*sides):
        return None
    views = [_merging(context, ref, side) for ref, side in zip((one, two), sides)]
    late = sorted(
        (view for view in views if view is not None),
        key=lambda view: _is_sorted(context, view),
    )
    if not late:
        return None
    shown = [" · ".join(str(axis.size) for axis in side) for side in sides]
    turn = operand(late[0], late[0].inputs[0], "{}.transpose(0, 1)")
    return finding(
        context,
        rule,
        call,
        f"the {one.shape[0]} rows of both are not in the same order: {shown[0]} of the "
        f"first, {shown[1]} of the second: two dimensions of the data were merged in "
        "one order here and in the other there.",
        culprits=[culprit(context, view, "merges the rows") for view in late],
        fixes=[turn if len(late[0].inputs[0].shape) > 1 else None],
        shapes=[("first", one, 0), ("second", two, 0)],
        way=(one.id, 0),
    )


def _other_order(one: tuple[Axis, ...], two: tuple[Axis, ...]) -> bool:
    """Whether two dimensions are made of two of the data's each, the first of one
    being the second of the other: by what they are, or by their sizes."""
    if len(one) != 2 or len(two) != 2 or not all(a.sure for a in (*one, *two)):
        return False
    roots = [[axis.roots for axis in side] for side in (one, two)]
    if any(len(each) != 1 or next(iter(each))[0] != "data" for each in sum(roots, [])):
        return False
    if roots[0] == roots[1][::-1]:
        return roots[0][0] != roots[0][1]
    if {*roots[0]} & {*roots[1]}:
        return False
    sizes = [[axis.size for axis in side] for side in (one, two)]
    return sizes[0] == sizes[1][::-1] and sizes[0][0] != sizes[0][1]


def _is_sorted(context: CheckContext, view: FunctionCall) -> bool:
    """Whether a view leaves the rows in the order that they came in."""
    found = [context.axes.of(ref.id, 0) for ref in view.outputs or ()]
    dims = [dim for side in found for axis in side for _, _, dim in axis.roots]
    return dims == sorted(dims)


def _merging(
    context: CheckContext, ref: TensorRef, side: tuple[Axis, ...]
) -> FunctionCall | None:
    """The view that merged a tensor's rows."""
    for _ in range(_STEPS):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return None
        given = made.inputs[0]
        if kind(made.name) == "view" and context.axes.of(given.id, 0) != side:
            return made
        ref = given
    return None


#: calls that are looked back over for a view
_STEPS = 32


_PAIRS = ("sum", "scale", "compare", "join", "distance")


def _crossed(one: tuple[Axis, ...], two: tuple[Axis, ...]) -> bool:
    """Whether the same count and the same batch stand in another order. Where the sizes
    stand in one order as well, every row of one is meant to meet every row of the
    other."""
    if len(one) != 2 or len(two) != 2 or not all(a.sure for a in (*one, *two)):
        return False
    if [a.size for a in one] != [a.size for a in reversed(two)]:
        return False
    kinds = [[{root[0] for root in a.roots} for a in side] for side in (one, two)]
    if one[0].size == one[1].size or kinds[0] != kinds[1][::-1]:
        return False
    return sorted(map(sorted, kinds[0])) == [["data"], ["made"]]


def _repeat(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The call that repeated what a tensor was made of as a whole."""
    todo, seen = [ref.id], {ref.id}
    while todo:
        made = context.made_by(todo.pop(0))
        if made is None or len(seen) > _FAR:
            continue
        if plain(made.name) in ("repeat", "tile"):
            return made
        new = [one.id for one in made.inputs if one.id not in seen]
        seen.update(new)
        todo += new
    return None


#: tensors that are looked back over for a repeat
_FAR = 2000


def _apart(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    one: TensorRef,
    two: TensorRef,
    sides: list[tuple[Axis, ...]],
    repeat: FunctionCall,
) -> Diagnosis:
    shown = [" · ".join(str(axis.size) for axis in side) for side in sides]
    size = repeat.inputs[0].shape[:1]
    count = (repeat.outputs or ())[0].shape[0] // max(prod(size), 1)
    return finding(
        context,
        rule,
        call,
        f"the {one.shape[0]} rows of both are not in the same order: those of the "
        f"first are {shown[0]}, those of the second {shown[1]} (repeat gives a b a b, "
        "repeat_interleave a a b b).",
        culprits=[
            culprit(context, repeat, "repeats the whole", 0, one.shape[0]),
            culprit(context, call, "puts them side by side", 0),
        ],
        fixes=[
            interleaved(repeat, count)
            or f"repeat each row by itself, with repeat_interleave({count}, dim=0)"
        ],
        shapes=[("first", one, 0), ("second", two, 0)],
        way=(one.id, 0),
    )
