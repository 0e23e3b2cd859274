"""Losses and counts that are one number already where each sample's was wanted."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.batches import batch_of
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import instead
from shapetrace.checks.fixes.loss_lines import with_option
from shapetrace.checks.losses.totals import added_totals
from shapetrace.lineage.dimensions import DATA, TRAINABLE
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.signatures import loss as facts_of

#: calls between a loss and where its number is used
_NEAR = 8
#: what leaves a number the same loss, but for a constant
_SCALES = ("sum", "scale", "pointwise", "cast")


@check(
    "reduced-too-early",
    "warning",
    "one number of the whole batch stands where one of each sample was wanted: weights "
    "of samples, or a power for hard ones, then act on all alike",
)
def reduced_too_early(context: CheckContext) -> Iterator[Diagnosis]:
    for call in context.calls("mul", "div"):
        if len(call.inputs) != 2:
            continue
        one, two = call.inputs
        for number, other in ((one, two), (two, one)):
            if number.shape:
                continue
            loss = _reduced(context, number)
            if loss is None:
                mean = _mean(context, number, other)
                if mean is not None and _is_reduced(context, call, other):
                    yield _weights(context, call, mean, other)
                    break
                continue
            at = batch_of(context, loss)
            samples = (
                () if at is None else context.sides[loss.index][0].shape[at : at + 1]
            )
            if other.shape and samples not in ((), (1,)):
                if _weighs(context, other, loss) and _is_reduced(context, call, other):
                    yield _weights(context, call, loss, other)
                    break
            if not other.shape and samples not in ((), (1,)):
                if _grows_with(context, other, loss):
                    yield _power(context, call, loss)
                    break
    yield from _counts_of_all(context)
    yield from _mean_of_a_total(context)
    yield from added_totals(context)


def _mean_of_a_total(context: CheckContext) -> Iterator[Diagnosis]:
    """`kl.mean(dim=0)` of one number, which is the sum over all samples."""
    for call in context.calls("mean"):
        given = call.inputs[0]
        if given.shape or argument(call, "dim", 1) is None:
            continue
        total = _scaled_total(context, given)
        if total is None or not context.axes.descends(given.id, TRAINABLE):
            continue
        of = total.inputs[0]
        if len(of.shape) < 2 or not context.axes.descends(of.id, DATA):
            continue  # of one sample, or a penalty for weights
        each = "{}.sum(1)" if len(of.shape) == 2 else "{}.flatten(1).sum(1)"
        yield finding(
            context,
            call,
            f"mean takes a dimension of one number: sum at {total.source} has no dim, "
            f"and is over all of {of.shape}, the {of.shape[0]} of dimension 0 too.",
            culprits=[
                culprit(context, total, "sums over the samples too", 0, of.shape[0]),
                culprit(context, call, "is a mean of one number"),
            ],
            fixes=[instead(total, each)],
            shapes=[("summed", of, 0), ("sum", given, None)],
            way=(of.id, 0),
        )


def _scaled_total(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The sum over all that a number is, scaled at most."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or len(made.inputs) != 1:
            return None
        if made.name == "sum":
            return made if argument(made, "dim", 1) is None else None
        if plain(made.name) not in ("neg", "mul", "div", "add", "sub"):
            return None
        ref = made.inputs[0]
    return None


def _counts_of_all(context: CheckContext) -> Iterator[Diagnosis]:
    """Vectors summed over the tokens of each sample, divided by the number of tokens of
    all samples."""
    for call in context.calls("div"):
        if len(call.inputs) != 2 or call.inputs[1].shape:
            continue
        above = call.inputs[0]
        count = _total(context, call.inputs[1])
        vectors = len(above.shape) > 1 and context.axes.from_parameter(above.id, -1)
        if count is None or not vectors:
            continue
        mask, total = count.inputs[0], context.made_by(context.undressed(above.id))
        if len(mask.shape) < 2 or min(mask.shape) < 2 or total is None:
            continue
        if total.name != "sum" or not _is_weighed(context, total.inputs[0], mask):
            continue
        dim, rank = argument(total, "dim", 1), len(total.inputs[0].shape)
        if isinstance(dim, int) and 0 < dim % rank < len(mask.shape):
            yield _count(context, call, count, dim % rank)


def _total(context: CheckContext, number: TensorRef) -> FunctionCall | None:
    """The sum over all of a mask that a number is, with a least value perhaps."""
    made = context.made_by(number.id)
    while made is not None and plain(made.name) in ("clamp", "clamp_min", "float"):
        made = context.made_by(made.inputs[0].id)
    if made is None or made.name != "sum" or not context.is_raw_data(number.id):
        return None
    return made


def _is_weighed(context: CheckContext, ref: TensorRef, mask: TensorRef) -> bool:
    """Whether what is summed was multiplied by a mask."""
    made = context.made_by(ref.id)
    if made is None or plain(made.name) != "mul" or len(made.inputs) != 2:
        return False
    start = context.undressed(mask.id)
    return any(context.undressed(one.id) == start for one in made.inputs)


def _count(
    context: CheckContext, call: FunctionCall, count: FunctionCall, dim: int
) -> Diagnosis:
    above, mask = call.inputs[0], count.inputs[0]
    keep = ", keepdim=True" if len(above.shape) == len(mask.shape) else ""
    return finding(
        context,
        call,
        f"{above.shape} holds the sum of each sample, over dimension {dim} of a mask "
        f"of {mask.shape}, and is divided by the sum over all of that mask, at "
        f"{count.source}: the number of tokens in the whole batch.",
        culprits=[
            culprit(context, count, "counts the tokens of all samples"),
            culprit(context, call, "divides each sample by them"),
        ],
        fixes=[instead(count, f"{{}}.sum({dim}{keep})")],
        shapes=[("sums", above, 0), ("mask", mask, 0)],
        way=(above.id, 0),
    )


def _reduced(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The loss whose one number a tensor is, scaled at most."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None:
            return None
        if made.index in context.sides:
            return made
        parts = [one for one in made.inputs if not one.shape]
        if plain(made.name) not in ("neg", "mul", "div", "mean") or len(parts) != 1:
            return None
        ref = parts[0]
    return None


def _mean(
    context: CheckContext, number: TensorRef, other: TensorRef
) -> FunctionCall | None:
    """The call that took the mean, or the sum, of what was made by a model, where data
    of the same shape, or of its first dimensions, is to weigh it: of a loss by hand."""
    made = context.made_by(number.id)
    for _ in range(_NEAR):
        if made is None or plain(made.name) not in ("neg", "mul"):
            break
        if len(made.inputs) != 1 or made.inputs[0].shape:
            break
        made = context.made_by(made.inputs[0].id)
    if made is None or max(other.shape, default=1) < 2 or not made.inputs:
        return None
    given = made.inputs[0]
    if made.name not in ("mean", "sum") or (made.outputs or (given,))[0].shape:
        return None
    if made.name == "sum" and not context.axes.descends(given.id, DATA):
        return None  # a penalty for weights
    weighs = given.shape[: len(other.shape)] == other.shape
    if len(given.shape) > len(other.shape):
        roots = [context.axes.sole(ref.id, 0) for ref in (given, other)]
        weighs &= all(root is not None and root[2] == 0 for root in roots)
    weighs &= context.is_raw_data(other.id)
    return made if weighs and context.axes.descends(number.id, TRAINABLE) else None


def _weighs(context: CheckContext, ref: TensorRef, loss: FunctionCall) -> bool:
    """Whether a tensor has one value for each sample of the data, or for each place
    that the loss has: a mask of tokens."""
    given, target = context.sides[loss.index]
    roots = context.axes.roots(ref.id, 0)
    if not context.axes.sure(ref.id, 0):
        return False
    if any(kind not in ("data", "made") for kind, _, _ in roots):
        return False
    # of samples and places in one dimension the samples are a part; a mask may be made
    # of counted places alone
    if all(kind == "data" and dim for kind, _, dim in roots):
        return False
    places = {given.shape[: len(ref.shape)]} | _places(loss, given)
    if target is not None:
        places.add(target.shape)
    at = batch_of(context, loss)
    return ref.shape in places or ref.shape == (given.shape[at or 0],)


def _places(loss: FunctionCall, given: TensorRef) -> set[tuple[int, ...]]:
    """The shapes of a loss that is not reduced, with a class for each place."""
    known = facts_of(loss.name)
    if known is None or known.class_dim is None or not given.shape:
        return set()
    at = known.class_dim % len(given.shape)
    return {given.shape[:at] + given.shape[at + 1 :]}


def _is_reduced(context: CheckContext, call: FunctionCall, weights: TensorRef) -> bool:
    """Whether a product is summed up in the end: alone, or with other terms where the
    weights came with the data. Those that are learned have a term of their own."""
    sums = ("add", "sub") if context.is_raw_data(weights.id) else ()
    todo = list(call.outputs or ())[:1]
    for _ in range(_NEAR):
        if not todo:
            break
        for user, ref in context.follow(todo.pop().id):
            if not ref.shape:
                return True
            if plain(user.name) in sums and ref.shape == user.inputs[0].shape:
                todo.append(ref)
    return False


def _grows_with(context: CheckContext, ref: TensorRef, loss: FunctionCall) -> bool:
    """Whether a number is a power of `exp(-loss)`, as a focal weight is."""
    powers = 0
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None:
            return False
        if made.index == loss.index:
            return powers == 2
        name = plain(made.name)
        powers += name in ("exp", "pow")
        parts = [one for one in made.inputs if not one.shape]
        if len(parts) != 1 or not (name == "pow" or kind(name) in _SCALES):
            return False
        ref = parts[0]
    return False


def _weights(
    context: CheckContext, call: FunctionCall, loss: FunctionCall, other: TensorRef
) -> Diagnosis:
    return finding(
        context,
        call,
        f"{loss.name} at {loss.source} is one number for the whole batch, and the "
        f"weights of {other.shape} are one for each sample or place of it: every one "
        f"gets the {'sum' if loss.name == 'sum' else 'mean'} of them.",
        culprits=[
            culprit(context, loss, "is reduced to one number"),
            culprit(context, call, "weighs what is reduced already"),
        ],
        fixes=[_each(loss, other) or with_option(context, loss, "reduction", "none")],
        shapes=[("loss", (loss.outputs or ())[0], None), ("weights", other, 0)],
        way=(other.id, 0),
    )


def _each(loss: FunctionCall, other: TensorRef) -> Fix | None:
    """The line of a mean or a sum by hand with a number for each weight."""
    if loss.name not in ("mean", "sum"):
        return None
    given = loss.inputs[0].shape
    dims = tuple(range(len(other.shape), len(given)))
    over = dims if len(dims) > 1 else dims[0] if dims else None
    return instead(loss, "{}" if over is None else f"{{}}.{loss.name}({over})")


def _power(context: CheckContext, call: FunctionCall, loss: FunctionCall) -> Diagnosis:
    given = context.sides[loss.index][0]
    return finding(
        context,
        call,
        f"the weight is a power of {loss.name}'s mean over the batch, at "
        f"{loss.source}: it tells no hard sample from an easy one.",
        culprits=[
            culprit(context, loss, "is reduced to one number"),
            culprit(context, call, "weighs what is reduced already"),
        ],
        fixes=[with_option(context, loss, "reduction", "none")],
        shapes=[("input", given, 0), ("loss", (loss.outputs or ())[0], None)],
        way=(given.id, 0),
    )
