"""Operands that stretch each other on the way to a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import prod

from shapetrace.checks.broadcasting.alignment import misaligned
from shapetrace.checks.broadcasting.crossing import crossed
from shapetrace.checks.broadcasting.fitting import label, to_one_shape, without
from shapetrace.checks.broadcasting.mismatched import told
from shapetrace.checks.broadcasting.pair_sums import is_meant, sum_of_pairs
from shapetrace.checks.broadcasting.pairs import (
    all_pairs,
    is_weight,
    meets_matrix,
    of_pairs,
    one_for_all,
)
from shapetrace.checks.broadcasting.samples import one_of_many
from shapetrace.checks.broadcasting.stretchers import EXPLICIT, pairer, stretchers
from shapetrace.checks.facts.comparing import is_error
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import undone
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.lineage.factors import Root
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import broadcasts, is_elementwise, kind
from shapetrace.signatures import loss as facts_of

_PAIRWISE = ("sub", "add", "mul", "div", "eq", "ne")
_MASKS = ("where", "masked_fill")
_MISFITS = frozenset(("sub", "rsub"))
_MEANS = ("mean", "sum")


@check(
    "silent-broadcast",
    "warning",
    "prediction and target of different shapes are stretched to a common one: every "
    "prediction is compared with every target",
)
def silent_broadcast(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for loss in context.losses:
        found = _in_loss(context, rule, loss)
        if found is not None:
            yield found
    for call in context.calls(*_PAIRWISE, *_MASKS):
        if len(call.inputs) == 2 and call.inputs[0].shape != call.inputs[1].shape:
            found = _sample_by_hand(context, rule, call)
            found = found or _by_hand(context, rule, call)
            found = found or sum_of_pairs(context, rule, call)
            if found is not None:
                yield found
    picks = (_selected(context, rule, one) for one in context.calls("masked_select"))
    yield from (found for found in picks if found is not None)


# -- torch's own losses ------------------------------------------------------------


def _in_loss(
    context: CheckContext, rule: Check, loss: FunctionCall
) -> Diagnosis | None:
    known = facts_of(loss.name)
    if known is None or known.takes == "ranked":  # one against many is meant
        return None
    if not known.stretches and known.takes != "embeddings":
        return None
    pair = [ref for ref in context.sides.get(loss.index, ()) if ref is not None]
    if known.takes == "embeddings":  # they are compared with each other
        pair = [ref for ref in loss.inputs if ref is not context.sides[loss.index][1]]
    if len(pair) < 2 or len({ref.shape for ref in pair}) < 2:
        return None
    for ref in pair:
        for other in pair:
            dim = _stretched(ref.shape, other.shape)
            if dim is None or _is_constant(context, ref, other):
                continue
            if prod(ref.shape) == 1 and context.is_raw_data(ref.id):
                found = _one_sample(context, rule, loss, ref, other)
                if found is not None:
                    return found
                continue
            if one_for_all(loss, ref, other) or all_pairs(context, loss, ref, other):
                return None
            size = other.shape[dim - max(len(ref.shape), len(other.shape))]
            return _report(context, rule, loss, ref, other, dim, size)
    return None


def _stretched(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """The last dimension of the common shape in which `one` has 1, or lacks it, and
    `two` has more."""
    rank = max(len(one), len(two))
    for back in range(1, rank + 1):
        size = one[-back] if back <= len(one) else 1
        if size == 1 and back <= len(two) and two[-back] > 1:
            return rank - back
    return None


def _is_constant(context: CheckContext, ref: TensorRef, other: TensorRef) -> bool:
    """Whether a tensor is one number that no data went into, or a statistic of what it
    is compared with: meant for all of it."""
    if prod(ref.shape) != 1:
        return False
    behind = (one.id for _, call in context.graph.chain(ref.id) for one in call.inputs)
    return not context.axes.descends(ref.id, DATA) or other.id in behind


def _one_sample(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
) -> Diagnosis | None:
    """One sample of the data that is held against several of them."""
    sample = one_of_many(context, ref, other)
    if sample is None:
        return None
    taken, dim = sample.call, sample.dim
    whole = None
    if sample.of and taken.inputs[0].shape == other.shape:
        whole = context.trial(undone(taken), Change(taken, "args[0]", instead=True))
    said = f"one of {sample.of} samples" if sample.of else "one sample"
    size, own = other.shape[dim], dim - len(other.shape) + len(ref.shape)
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {ref.shape} against {other.shape}: {said}, which "
        f"{taken.name} took, is stretched over {size} samples.",
        culprits=[
            culprit(context, taken, "takes one sample", 0, 1, size),
            data_culprit(context, ref.id, f"has shape {ref.shape}"),
        ],
        fixes=[whole],
        shapes=[
            (label(context, call, ref, other), ref, own if own >= 0 else None),
            (label(context, call, other, ref), other, dim),
        ],
        way=(ref.id, own if own >= 0 else None),
    )


def _report(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
    dim: int,
    size: int,
) -> Diagnosis:
    rank = max(len(ref.shape), len(other.shape))
    result = _common(ref.shape, other.shape)
    own = dim - rank + len(ref.shape)
    who: Sequence[Culprit | None]
    fixes: Sequence[Fix | str | None]
    if len(ref.shape) != len(other.shape):
        who, fixes = told(context, rule, call, ref, other)
    else:
        who = stretchers(context, call, ref, other, dim)
        fixes = to_one_shape(context, call, ref, other)
        if pairer(context, other, ref) is not None:
            fixes = []  # expanded, one target would be that of all pairs
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {ref.shape} against {other.shape} to {result}: "
        f"dimension {dim} is stretched from 1 to {size}.",
        culprits=who,
        fixes=fixes,
        shapes=[
            (label(context, call, ref, other), ref, own if own >= 0 else None),
            (
                label(context, call, other, ref),
                other,
                dim - rank + len(other.shape),
            ),
        ],
        way=(ref.id, own) if own >= 0 else (ref.id, None),
    )


def _common(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
    sizes = zip_longest(one[::-1], two[::-1], fillvalue=1)
    return tuple([b if a == 1 else a for a, b in sizes])[::-1]


# -- hand-written ones ---------------------------------------------------------------


def _sample_by_hand(
    context: CheckContext, rule: Check, call: FunctionCall
) -> Diagnosis | None:
    """`((prediction - target[i]) ** 2).mean()`."""
    if plain(call.name) not in _MISFITS or call.parent is not None or not call.outputs:
        return None
    users = context.graph.users.get(call.outputs[0].id, ())
    for ref, other in (call.inputs, call.inputs[::-1]):
        if prod(ref.shape) == 1 < prod(other.shape) and context.is_raw_data(ref.id):
            if context.axes.descends(other.id, PARAMETER) and users:
                if all(is_error(context, user) for user in users):
                    return _one_sample(context, rule, call, ref, other)
    return None


def _by_hand(
    context: CheckContext, rule: Check, call: FunctionCall
) -> Diagnosis | None:
    one, two = call.inputs
    if not one.shape or not two.shape:
        return None
    tall, low = (one, two) if len(one.shape) > len(two.shape) else (two, one)
    if len(tall.shape) == len(low.shape):
        return _narrow_prediction(context, rule, call, one, two)
    lead = len(tall.shape) - len(low.shape)
    found = misaligned(context, rule, call) or crossed(context, rule, call)
    if found is not None or lead != 1 or not _outside(context, call, tall, low):
        return found
    if _is_column(tall) and len(low.shape) > 1:
        return _weight_of_all(context, rule, call, tall, low)
    # the tall one, (N, 1), is stretched where the low one, (N,), has its size, and
    # the low one along the dimension that it lacks
    stretched = [
        dim
        for dim, size in enumerate(low.shape)
        if size != tall.shape[dim + 1] and tall.shape[dim + 1] == 1
    ]
    if len(stretched) != 1 or tall.shape[0] == 1:
        return None
    if without(tall.shape, stretched[0] + 1) != low.shape:
        return None
    axes = context.axes
    if not (axes.descends(tall.id, PARAMETER) or axes.descends(low.id, PARAMETER)):
        return None
    if not _both_batch(context, tall, low) or is_meant(context, call, tall, low):
        return None
    if meets_matrix(context, call) or of_pairs(context, call):
        return None
    dim = stretched[0] + 1
    return _report(context, rule, call, tall, low, dim, low.shape[stretched[0]])


def _selected(
    context: CheckContext, rule: Check, call: FunctionCall
) -> Diagnosis | None:
    """`losses.masked_select(mask)` of (N, 1) by (N,): of each loss as many are taken as
    there are ones in the mask."""
    stretched = {at: dim for at, dim, size in broadcasts(call) if size > 1}
    if len(stretched) < 2:
        return None
    tall, low = sorted(call.inputs[:2], key=lambda ref: -len(ref.shape))
    at = call.inputs.index(tall)
    size = low.shape[stretched[at] - len(tall.shape) + len(low.shape)]
    return _report(context, rule, call, tall, low, stretched[at], size)


def _is_column(ref: TensorRef) -> bool:
    """Whether a tensor has one number for each entry of its first dimension."""
    return len(ref.shape) > 1 and ref.shape[0] == prod(ref.shape) > 1


def _weight_of_all(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    tall: TensorRef,
    low: TensorRef,
) -> Diagnosis | None:
    """`(N, 1, 1, 1)` times errors of `(N, H, W)`, of which the mean is taken: a weight
    of each sample that meets every sample."""
    if kind(call.name) != "scale" or tall.shape[0] != low.shape[0]:
        return None
    if not context.axes.descends(low.id, PARAMETER) or not _one_mean(context, call):
        return None
    if not _both_batch(context, tall, low) or meets_matrix(context, call):
        return None
    return _report(context, rule, call, tall, low, 1, low.shape[0])


def _outside(
    context: CheckContext, call: FunctionCall, tall: TensorRef, low: TensorRef
) -> bool:
    """Between the modules; or inside of one, where data meets a prediction, or where
    of all that is made one mean is taken."""
    if call.parent is None or _one_mean(context, call):
        return True
    if plain(call.name) not in _MISFITS:
        return False
    return context.is_raw_data(tall.id) != context.is_raw_data(low.id)


def _one_mean(context: CheckContext, call: FunctionCall) -> bool:
    """Whether all that a call makes ends in one number, with nothing done on the way
    but one entry at a time: no matrix is looked at as such."""
    made = (call.outputs or ())[0]
    todo, seen = [made.id], {made.id}
    while todo:
        users = list(context.follow(todo.pop()))
        if not users:
            return False
        for user, ref in users:
            if plain(user.name) in _MEANS and not ref.shape:
                continue
            if ref.shape != made.shape or not is_elementwise(user.name):
                return False
            if ref.id not in seen:
                seen.add(ref.id)
                todo.append(ref.id)
    return True


def _both_batch(context: CheckContext, tall: TensorRef, low: TensorRef) -> bool:
    """Whether the first dimensions of both begin as the first of data, or are one
    dimension that the code has made, as copies of one sample."""
    if _one_axis(context, tall, low):
        return True
    for ref in (tall, low):
        roots: frozenset[Root] = context.axes.roots(ref.id, 0)
        if not roots or not context.axes.sure(ref.id, 0):
            return False
        dims: dict[int, set[int]] = {}
        for root, tensor, dim in roots:
            if root != "data":
                return False
            dims.setdefault(tensor, set()).add(dim)
        # the first of data, or the first ones as one: steps and environments
        if any(found != set(range(len(found))) for found in dims.values()):
            return False
        if any(is_weight(context, tensor) for _, tensor, _ in roots):
            return False
    return True


def _one_axis(context: CheckContext, tall: TensorRef, low: TensorRef) -> bool:
    """Whether the first dimensions are one and the same, and no layer's, and the 1 of
    the tall one was not put there by its code."""
    axes, maker = context.axes, context.made_by(tall.id)
    if maker is None or plain(maker.name) in EXPLICIT:
        return False
    roots = axes.roots(tall.id, 0)
    if roots != axes.roots(low.id, 0) or any(root == "parameter" for root, *_ in roots):
        return False
    return axes.sure(tall.id, 0) and axes.sure(low.id, 0)


def _narrow_prediction(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    one: TensorRef,
    two: TensorRef,
) -> Diagnosis | None:
    """`((prediction - target) ** 2).mean()` with a prediction of one feature."""
    if plain(call.name) not in _MISFITS or call.parent is not None:
        return None
    axes = context.axes
    for given, target in ((one, two), (two, one)):
        if not context.is_raw_data(target.id) or context.is_raw_data(given.id):
            continue
        at = len(given.shape) - 1
        if without(given.shape, at) != without(target.shape, at):
            continue
        if given.shape[at] != 1 or not axes.from_parameter(given.id, at):
            continue
        if axes.sole(target.id, at) is None or not axes.descends(target.id, DATA):
            continue
        users = context.graph.users.get((call.outputs or ())[0].id, ())
        if users and all(is_error(context, user) for user in users):
            return _report(context, rule, call, given, target, at, target.shape[at])
    return None
