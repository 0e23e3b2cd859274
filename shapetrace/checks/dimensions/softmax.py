"""Softmaxes that run over the batch, or over one side of maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from shapetrace.checks.facts.arguments import argument, softmax_dim
from shapetrace.checks.facts.batches import Batches
from shapetrace.checks.facts.by_hand import Normalised, normalised
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import along
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind, loss

#: steps from a softmax to where a row picks its class, or back to what made the maps
_NEAR = 8
#: what gives maps as it takes them: the same channels in the same place
_KEEPS_MAPS = (
    "pool",
    "scale",
    "sum",
    "cast",
    "detach",
    "copy",
    "dropout",
    "activation",
)


@check(
    "softmax-over-batch",
    "warning",
    "a softmax over the batch makes the samples compete: each result depends on what "
    "else is in the batch",
)
def softmax_over_batch(context: CheckContext) -> Iterator[Diagnosis]:
    for call, given, dim, does, by in over_batch(context):
        wide = [d for d, size in enumerate(given.shape) if d != dim and size > 1]
        order = (_weighed_along(context, call), wide[-1], wide[0])
        holds = "holds" if len(context.axes.of(given.id, dim)) > 1 else "is"
        yield finding(
            context,
            call,
            f"{does if by is not call else call.name} normalises dimension {dim} of "
            f"{given.shape}, which {holds} "
            "the batch: the samples compete with each other.",
            culprits=[
                culprit(context, by, "runs over the batch", dim),
                culprit(context, call),
            ],
            fixes=[along(context, by, d) for d in dict.fromkeys(order) if d in wide],
            shapes=[("input", given, dim)],
            way=(given.id, dim),
        )


def _weighed_along(context: CheckContext, call: FunctionCall) -> int | None:
    """The dimension that what the weights of a softmax are multiplied with is summed
    over."""
    weights = (call.outputs or ())[0]
    for user, made in context.follow(weights.id):
        if kind(user.name) != "scale" or len(made.shape) != len(weights.shape):
            continue
        for total, _ in context.follow(made.id):
            dim = argument(total, "dim", 1) if total.name == "sum" else None
            if isinstance(dim, int) and not isinstance(dim, bool):
                return dim % len(made.shape)
    return None


def over_batch(context: CheckContext) -> list[Normalised]:
    """The softmaxes over the batch."""
    axes = context.axes
    spots = [
        one
        for one in normalised(context, "softmax", "log_softmax")
        if one.given.shape[one.dim] > 1
        and any(root[0] == "data" for root in axes.roots(one.given.id, one.dim))
    ]
    if not spots:
        return []
    batches = Batches(context)
    found = []
    for one in spots:
        given, dim = one.given, one.dim
        picked = dim == 0 and picked_by_row(context, one.call)
        others = [d for d in range(len(given.shape)) if d != dim]
        if not axes.sure(given.id, dim) or all(given.shape[d] == 1 for d in others):
            continue
        rows = batches.merged(given, dim)
        over = axes.roots(given.id, dim) & batches.sure
        over = over or (rows if rows in batches.rows else frozenset())
        made = {ref.id for ref in one.call.outputs or ()}
        has = partial(_shares, context, given, over)
        if any(has(d) for d in others):
            continue
        kept = any(batches.kept(root, made, batches.losses_of(root)) for root in over)
        if kept or picked:
            found.append(one)
    return found


def _shares(
    context: CheckContext, ref: TensorRef, over: frozenset[Root], dim: int
) -> bool:
    """Whether another dimension is the batch too, or that of other data: a matrix of
    all pairs, in which both dimensions may be normalised."""
    if over & context.axes.roots(ref.id, dim):
        return True
    root = context.axes.sole(ref.id, dim)
    if root is None or root[2] != 0:
        return False
    return all(root[1] != tensor for _, tensor, _ in over)  # else its time, before it


def picked_by_row(context: CheckContext, call: FunctionCall) -> bool:
    """Whether each row of the result picks one of its columns, the features of a layer:
    the rows are samples, as in a policy gradient by hand."""
    given, made = call.inputs[0], (call.outputs or ())[0]
    axes = context.axes
    if len(given.shape) != 2 or axes.sole(given.id, 0) is None:
        return False
    if not axes.from_parameter(given.id, 1) or not axes.sure(given.id, 1):
        return False
    seen, todo = {made.id}, [(made.id, 0)]
    while todo:
        tensor, steps = todo.pop()
        for user, ref in context.follow(tensor):
            if user.inputs[0].id == tensor and _one_of_a_row(context, user):
                return True
            if ref.shape == made.shape and ref.id not in seen and steps < _NEAR:
                seen.add(ref.id)
                todo.append((ref.id, steps + 1))
    return False


def _one_of_a_row(context: CheckContext, call: FunctionCall) -> bool:
    """`x.gather(1, index)` with one index a row, or `x[torch.arange(n), index]`."""
    rows = call.inputs[0].shape[0]
    index = call.inputs[1:]
    if call.name == "gather":
        dim = argument(call, "dim", 1)
        return dim in (1, -1) and [ref.shape for ref in index] == [(rows, 1)]
    if call.name != "getitem" or [ref.shape for ref in index] != [(rows,)] * 2:
        return False
    counter = context.made_by(index[0].id)
    return counter is not None and counter.name == "arange"


@check(
    "softmax-over-space",
    "warning",
    "a softmax over one side of maps makes places compete in a row, where the same "
    "maps are classes at every place",
)
def softmax_over_space(context: CheckContext) -> Iterator[Diagnosis]:
    for call in context.calls("softmax", "log_softmax"):
        given, dim = call.inputs[0], softmax_dim(call)
        shape = given.shape
        if dim is None or dim < 2 or len(shape) < 4 or 1 in (shape[1], shape[dim]):
            continue
        if not _from_convolution(context, given.id):
            continue
        other = _over_classes(context, given)
        if other is not None:
            yield finding(
                context,
                call,
                f"{call.name} normalises dimension {dim} of {shape}, one side of the "
                f"maps; {other.name} at {other.source} takes dimension 1 of the same "
                "maps for the classes.",
                culprits=[culprit(context, call, "runs over one side", dim)],
                fixes=[along(context, call, 1)],
                shapes=[("input", given, dim)],
                way=(given.id, dim),
            )


def _from_convolution(context: CheckContext, tensor: int) -> bool:
    """Whether a tensor is maps as a convolution gives them, resized or not.

    Of scores and views, other dimensions than the second may be the classes.
    """
    for _ in range(_NEAR):
        made = context.graph.producer(tensor)
        if not isinstance(made, FunctionCall) or not made.inputs:
            return False
        does = kind(made.name)
        if does == "convolution":
            return True
        rank = len(made.inputs[0].shape)
        if (
            made.name != "interpolate"
            and does not in _KEEPS_MAPS
            or rank != len(context.graph.tensors[tensor].shape)
        ):
            return False
        tensor = made.inputs[0].id
    return False


def _over_classes(context: CheckContext, maps: TensorRef) -> FunctionCall | None:
    """Who takes dimension 1 of the same maps for classes: a softmax, a loss, whoever
    asks which class is the largest."""
    for user, made in context.follow(maps.id):
        if plain(user.name) in ("argmax", "max") and argument(user, "dim", 1) == 1:
            if not made.dtype.is_floating_point and context.graph.users.get(made.id):
                return user
        if user.name in ("softmax", "log_softmax"):
            if user.inputs[0].id == maps.id and softmax_dim(user) == 1:
                return user
        known = loss(user.name)
        if known is not None and known.class_dim == 1:
            if user.inputs[0].id == maps.id:
                return user
    return None
