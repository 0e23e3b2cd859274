"""Pairs that come apart: one side repeated as a whole, the other each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import interleaved, operand
from shapetrace.checks.order.shuffled import shuffled_apart
from shapetrace.lineage.factors import Axis, Root
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.signatures.attention import HEADS_OF_SAMPLES


@check(
    "pairs-apart",
    "warning",
    "rows are put side by side that do not belong together: one tensor was repeated as "
    "a whole (a b a b), the other each row for itself (a a b b), or they were shuffled "
    "apart",
)
def pairs_apart(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from shuffled_apart(context, rule)
    if not context.of_kind("repeat", "view", "expand", "join"):
        return
    yield from _of_heads(context, rule)
    for call in context.functions:
        does = kind(call.name)
        if does not in _PAIRS and call.index not in context.sides:
            continue
        tensors = [ref for ref in call.inputs if ref.shape and ref.shape[0] > 1]
        if does == "attention":  # with a mask
            tensors = [ref for ref in tensors if ref not in call.inputs[1:3]]
        elif len(tensors) == 3:  # with a label for each pair
            tensors = [ref for ref in tensors if len(ref.shape) > 1]
        if len(tensors) != 2 or not call.outputs:
            continue
        one, two = tensors
        turned = _turned(context, rule, call, one, two) if does != "mask" else None
        if turned is not None:
            yield turned
            continue
        if one.shape[0] != two.shape[0] or len(one.shape) != len(two.shape):
            continue
        sides = [context.axes.of(ref.id, 0) for ref in (one, two)]
        repeat = _crossed(context, *sides) or _in_blocks(context, *sides)
        repeat = repeat or _in_blocks(context, *sides[::-1])
        if repeat is not None:
            yield _apart(context, rule, call, (one, two), sides, repeat)


def _of_heads(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Masks that attention takes for each head of each sample, in that order."""
    for call in context.of_kind("attention"):
        roles = context.graph.relation(call).roles
        places = [at for at, role in roles.items() if role == HEADS_OF_SAMPLES]
        batch = [at for at, role in roles.items() if role == "batch"]
        if not places or not batch:
            continue
        mask, query = call.inputs[places[0][0]], call.inputs[0]
        own = [(call.inputs[position], dim) for position, dim in batch]
        roots = frozenset[Root]()
        for ref, dim in own:
            roots |= context.axes.roots(ref.id, dim)
        size = own[0][0].shape[own[0][1]]
        heads = frozenset((("parameter", query.id, len(query.shape) - 1),))
        wanted = (Axis(size, roots), Axis(mask.shape[0] // size, heads))
        sides = [wanted, context.axes.of(mask.id, places[0][1])]
        repeat = _crossed(context, *sides)
        if repeat is not None:
            yield _apart(context, rule, call, (query, mask), sides, repeat)


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


_PAIRS = ("sum", "scale", "compare", "join", "distance", "mask", "attention")


def _crossed(
    context: CheckContext, one: tuple[Axis, ...], two: tuple[Axis, ...]
) -> FunctionCall | None:
    """The call that repeated rows, where the same count and the same batch stand in
    another order. Where all sizes are equal, and nothing but them tells the two apart,
    every row of one may be meant to meet every row of the other."""
    if len(one) != 2 or len(two) != 2 or not all(a.sure for a in (*one, *two)):
        return None
    if [a.size for a in one] != [a.size for a in reversed(two)]:
        return None
    kinds = [[{root[0] for root in a.roots} for a in side] for side in (one, two)]
    data = [[each == {"data"} for each in side] for side in kinds]
    if sorted(data[0]) != [False, True] or data[1] != data[0][::-1]:
        return None
    place = data[0].index(True)
    if one[0].size == one[1].size and not one[place].roots & two[1 - place].roots:
        return None
    counts = [(one[1 - place], kinds[0][1 - place]), (two[place], kinds[1][place])]
    if not all(each in ({"made"}, {"parameter"}) for _, each in counts):
        return None
    made = [axis for axis, each in counts if each == {"made"}]
    if place == 0:  # of two repeats, the one that repeats the whole
        made.reverse()
    calls = [context.made_by(tensor) for axis in made for _, tensor, _ in axis.roots]
    repeats = [call for call in calls if call is not None and call.inputs]
    own = {context.undressed(call.inputs[0].id) for call in repeats}
    if one[0].size == one[1].size and len(repeats) == 2 and len(own) == 1:
        return None  # all pairs of the rows of one tensor
    return repeats[0] if repeats else None


def _in_blocks(
    context: CheckContext, one: tuple[Axis, ...], two: tuple[Axis, ...]
) -> FunctionCall | None:
    """The call that repeated the rows of one side, where those of the other are joined
    blocks, with some rows of each sample in each: the samples come first on one side,
    or last, and in the middle on the other."""
    if len(one) != 2 or len(two) != 3 or not all(a.sure for a in (*one, *two)):
        return None
    blocks, samples, each = two
    of = [[{root[0] for root in a.roots} for a in side] for side in (one, two)]
    if of[1][0] != {"made"} or sorted(map(sorted, of[0])) != [["data"], ["made"]]:
        return None
    if any("data" not in roots or "parameter" in roots for roots in of[1][1:]):
        return None  # of what was joined the factors have all roots together
    place = of[0].index({"data"})
    count = one[1 - place]
    if one[place].size != samples.size or blocks.size == samples.size:
        return None  # every row of one may be meant to meet every row of the other
    if place == 1 and samples.size == each.size:
        return None
    joins = [context.made_by(tensor) for _, tensor, _ in blocks.roots]
    if any(call is None or not _joins_others(call) for call in joins):
        return None
    calls = [context.made_by(tensor) for _, tensor, _ in count.roots]
    found = [call for call in calls if call is not None and kind(call.name) == "repeat"]
    return found[0] if len(found) == len(calls) else None


def _joins_others(call: FunctionCall) -> bool:
    """Whether a call joins tensors of which no two are the same."""
    own = [ref.id for ref in call.inputs]
    return kind(call.name) == "join" and len(set(own)) == len(own) > 1


def _apart(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    both: tuple[TensorRef, TensorRef],
    sides: list[tuple[Axis, ...]],
    repeat: FunctionCall,
) -> Diagnosis:
    one, two = both
    shown = [" · ".join(map(_counted, side)) for side in sides]
    rows, size = prod(axis.size for axis in sides[0]), repeat.inputs[0].shape[:1]
    count = (repeat.outputs or ())[0].shape[0] // max(prod(size), 1)
    whole = plain(repeat.name) in ("repeat", "tile")
    own = {ref.id for ref in repeat.outputs or ()}
    repeated = [any(root[1] in own for a in side for root in a.roots) for side in sides]
    return finding(
        context,
        rule,
        call,
        f"the {rows} rows of both are not in the same order: those of the first are "
        f"{shown[0]}, those of the second {shown[1]} (repeat gives a b a b, "
        "repeat_interleave a a b b).",
        culprits=[
            culprit(context, repeat, "repeats in the other order", 0, rows),
            culprit(context, call, "puts them side by side", 0),
        ],
        fixes=[
            (
                interleaved(repeat, count)
                or f"repeat each row by itself, with repeat_interleave({count}, dim=0)"
                if whole
                else "repeat the rows in the order of the other side: each by itself, "
                "with repeat_interleave, within a block, and the blocks with repeat"
            )
        ],
        shapes=[("first", one, 0), ("second", two, 0)],
        way=(both[repeated.index(True)].id, 0),
    )


def _counted(axis: Axis) -> str:
    """A factor in words: `3 samples`, or how often there is each."""
    samples = all(root == "data" for root, _, _ in axis.roots)
    return f"{axis.size} samples" if samples else f"{axis.size} of each"
