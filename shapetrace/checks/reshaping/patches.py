"""Pieces of an image that a view writes one behind the other, not side by side."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead
from shapetrace.diagnosis.repair.edits import Step
from shapetrace.diagnosis.repair.stepwise import stepwise
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import index_losses, kind


def torn(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Views whose cuts fall across the places and the features of each, or that keep
    both apart, where the result is taken for an image."""
    known = set[int]()
    for call in context.axes.tears:
        given, made = call.inputs[0], (call.outputs or ())[0]
        image = _as_an_image(context, made)
        if image is None or not context.axes.descends(given.id, DATA):
            continue
        known.add(call.index)
        line = _side_by_side(context, given, made)
        fix = _next_to_each_other(context, call, made.shape)
        yield finding(
            context,
            rule,
            call,
            f"{call.name} makes {made.shape} of {given.shape}: its cuts fall across "
            f"the places and the features of each, and {image.name} at {image.source} "
            "takes the result for an image.",
            culprits=[culprit(context, call, "writes the pieces one behind the other")],
            fixes=[instead(call, line) if line else fix],
            shapes=[("input", given, None), ("output", made, None)],
            way=(given.id, None),
        )
    yield from _apart(context, rule, known)


def _apart(context: CheckContext, rule: Check, known: set[int]) -> Iterator[Diagnosis]:
    """All places of a grid along one side of an image, and the features of each along
    the other: as many by chance as the image is high and wide."""
    for loss in (*context.losses, *context.calls("sub")):
        found = _sides(context, loss)
        if found is None:
            continue
        given, dim = found
        call = _last_view(context, given)
        if call is None or call.index in known:
            continue
        known.add(call.index)
        shape = given.shape
        yield finding(
            context,
            rule,
            call,
            f"{loss.name} at {loss.source} takes {shape} for an image of {shape[dim]} "
            f"by {shape[dim + 1]}, but {call.name} leaves places of both sides of the "
            f"grid of pieces in dimension {dim}, and what a layer made of each in "
            f"dimension {dim + 1}: the pieces are written one behind the other.",
            culprits=[culprit(context, call, "writes the pieces one behind the other")],
            fixes=[_next_to_each_other(context, call, (call.outputs or ())[0].shape)],
            shapes=[("input", call.inputs[0], None), ("image", given, dim)],
            way=(given.id, dim),
        )


def _sides(context: CheckContext, loss: FunctionCall) -> tuple[TensorRef, int] | None:
    """Of what is compared with an image that came so, and its first side, where that
    holds the places of both sides and the other one the features of each."""
    for given, target in _pairs(context, loss):
        lead = len(given.shape) - len(target.shape)
        for dim in range(1 + lead, len(given.shape) - 1):
            if _holds_places(context, given, dim) and not _in_pieces(
                context, target, dim - lead
            ):
                return given, dim
    return None


def _pairs(
    context: CheckContext, call: FunctionCall
) -> Iterator[tuple[TensorRef, TensorRef]]:
    """Prediction and target of a comparison in which the target is an image."""
    if call.name in index_losses():
        given, target = context.sides.get(call.index, (None, None))
        if given is not None and target is not None and len(target.shape) > 2:
            yield given, target
    elif len(call.inputs) == 2 and call.inputs[0].shape == call.inputs[1].shape:
        one, two = call.inputs
        # of three dimensions it may be pieces that the data was cut into before
        if len(one.shape) > 3 and compares(context, call):
            for given, target in ((one, two), (two, one)):
                if context.is_raw_data(target.id):
                    yield given, target


def _holds_places(context: CheckContext, given: TensorRef, dim: int) -> bool:
    """Whether a dimension holds places of both sides of an image, and the next one what
    a layer made of each, as many as the image is high and wide."""
    one, two = (context.axes.of(given.id, at) for at in (dim, dim + 1))
    if not all(axis.sure and len(axis.roots) == 1 for axis in (*one, *two)):
        return False
    here, there = ([root for a in axes for root in a.roots] for axes in (one, two))
    sides = [root for root in here if root[0] == "data"]
    if len(sides) != 2 or sides[0] >= sides[1] or sides[0][1] != sides[1][1]:
        return False
    (_, image, high), (_, _, wide) = sides
    shape = context.graph.tensors[image].shape
    if (shape[high], shape[wide]) != given.shape[dim : dim + 2]:
        return False
    features = [root for root in there if root[0] == "parameter"]
    rest = {root for root in (*here, *there) if root[0] != "parameter"}
    return bool(features) and rest == set(sides)


def _in_pieces(context: CheckContext, target: TensorRef, dim: int) -> bool:
    """Whether a target was cut into the same pieces."""
    return len([axis for axis in context.axes.of(target.id, dim) if axis.size > 1]) > 1


def _last_view(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The view that gave a tensor its dimensions, but for their order."""
    call = context.made_by(ref.id)
    while call is not None and call.inputs and kind(call.name) != "view":
        each = plain(call.name) in SAME_VALUES
        if not each and call.inputs[0].shape != (call.outputs or ())[0].shape:
            return None
        call = context.made_by(call.inputs[0].id)
    return call if call is not None and call.inputs else None


def _next_to_each_other(
    context: CheckContext, call: FunctionCall, made: tuple[int, ...]
) -> Fix | None:
    """The steps that put pieces, `(batch, places, features, ...)`, into rows and
    columns of an image."""
    given = call.inputs[0]
    for dim in range(len(given.shape) - 1):
        grid = [a.size for a in context.axes.of(given.id, dim) if a.size > 1]
        sides = made[dim : dim + 2]
        if len(grid) != 2 or len(given.shape) != len(made) or len(sides) != 2:
            continue
        if any(side % count for side, count in zip(sides, grid, strict=True)):
            continue
        piece = tuple(s // count for s, count in zip(sides, grid, strict=True))
        if prod(piece) != given.shape[dim + 1]:
            continue
        if (*given.shape[:dim], *sides, *given.shape[dim + 2 :]) != made:
            continue
        order = list(range(len(made) + 2))
        order[dim + 1], order[dim + 2] = dim + 2, dim + 1
        steps: tuple[Step, ...] = (
            ("unflatten", (dim, tuple(grid))),
            ("unflatten", (dim + 2, piece)),
            ("permute", tuple(order)),
            ("flatten", (dim, dim + 1)),
            ("flatten", (dim + 1, dim + 2)),
        )
        fix = instead(call, stepwise(*steps).text)
        return context.trial(fix, Change(call, "args[0]", steps, instead=True))
    return None


def _side_by_side(
    context: CheckContext, given: TensorRef, made: TensorRef
) -> str | None:
    """The line that puts pieces, `(batch, places, features)`, where they belong."""
    if len(given.shape) != 3 or len(made.shape) != 4:
        return None
    grid = [axis.size for axis in context.axes.of(given.id, 1)]
    channels, *sides = made.shape[1:]
    if len(grid) != 2 or any(side % count for side, count in zip(sides, grid)):
        return None
    piece = [side // count for side, count in zip(sides, grid)]
    if channels * prod(piece) != given.shape[2]:
        return None
    cut = f"-1, {grid[0]}, {grid[1]}, {channels}, {piece[0]}, {piece[1]}"
    whole = f"-1, {channels}, {sides[0]}, {sides[1]}"
    return f"{{}}.reshape({cut}).permute(0, 3, 1, 4, 2, 5).reshape({whole})"


def _as_an_image(context: CheckContext, made: TensorRef) -> FunctionCall | None:
    """The call that takes a tensor, each number at its place, for an image: a
    convolution, or a loss that compares it with data of three dimensions or more."""
    if len(made.shape) < 4:
        return None
    todo, seen = [made], {made.id}
    while todo:
        ref = todo.pop()
        for user, out in context.follow(ref.id):
            if kind(user.name) == "convolution" and user.inputs[0].id == ref.id:
                return user
            others = [one for one in user.inputs if one.id != ref.id]
            like = [one for one in others if one.shape == ref.shape]
            if any(context.is_raw_data(one.id) for one in like):
                if compares(context, user):
                    return user
            if user.name in index_losses() and others:
                given, target = context.sides.get(user.index, (None, None))
                known = given is not None and given.id == ref.id
                if known and target is not None and len(target.shape) > 2:
                    return user
            kept = out.shape == ref.shape or kind(user.name) == "transpose"
            if kept and not others and out.id not in seen:
                seen.add(out.id)
                todo.append(out)
    return None
