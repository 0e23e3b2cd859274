"""Operands that stretch each other on the way to a loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.checks.alignment import misaligned
from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.fitting import compares, is_error, label, to_one_shape, without
from shapetrace.checks.lines import code_of
from shapetrace.checks.pairs import all_pairs, is_weight, meets_matrix, one_for_all
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, data_culprit, finding, size_culprit
from shapetrace.lineage.dimensions import DATA, PARAMETER
from shapetrace.lineage.factors import Root
from shapetrace.records import (
    Culprit,
    Diagnosis,
    FunctionCall,
    TensorRef,
)
from shapetrace.signatures import is_loss
from shapetrace.signatures import loss as facts_of
from shapetrace.signatures import named
from shapetrace.source.place import text

_PAIRWISE = ("sub", "add", "mul", "div", "eq", "ne")
_MISFITS = frozenset(("sub", "rsub"))
#: calls that make a dimension of 1, or drop one, because the code says so
_EXPLICIT = named("view", "unit", "transpose") | {"getitem"}


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
    for call in context.calls(*_PAIRWISE):
        if len(call.inputs) == 2 and call.inputs[0].shape != call.inputs[1].shape:
            found = _by_hand(context, rule, call)
            if found is not None:
                yield found


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
            if dim is not None and not _constant(context, ref):
                if one_for_all(loss, ref, other) or all_pairs(
                    context, loss, ref, other
                ):
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


def _constant(context: CheckContext, ref: TensorRef) -> bool:
    """One number as the target of all: meant."""
    count = 1
    for size in ref.shape:
        count *= size
    return count == 1 and context.is_raw_data(ref.id)


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
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {ref.shape} against {other.shape} to {result}: "
        f"dimension {dim} is stretched from 1 to {size}.",
        culprits=_blame(context, call, ref, other, dim),
        fixes=to_one_shape(context, call, ref, other),
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
    rank = max(len(one), len(two))
    one, two = (1,) * (rank - len(one)) + one, (1,) * (rank - len(two)) + two
    return tuple(max(a, b) if 0 not in (a, b) else 0 for a, b in zip(one, two))


def _blame(
    context: CheckContext,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
    dim: int,
) -> list[Culprit | None]:
    """Who made the odd dimension: of a prediction the call that made or dropped it, of
    the user's data the data; then the other side."""
    rank = max(len(ref.shape), len(other.shape))
    found: list[Culprit | None] = []
    for one, two in ((ref, other), (other, ref)):
        at = dim - rank + len(one.shape)
        size = one.shape[at] if at >= 0 else None
        if at < 0:
            found.append(_dropper(context, one))
        elif len(one.shape) > len(two.shape):
            found.append(_odd_one(context, one, two))
        elif len(one.shape) < len(two.shape):
            found.append(_dropper(context, one))
        elif size == 1:
            found.append(_maker_of_one(context, one, at, two.shape[at]))
        else:
            found.append(size_culprit(context, one.id, at, f"makes {size}", 1))
        last = found[-1]
        if last is not None and last.kind == "input" and context.is_raw_data(one.id):
            # given to the model, but to be compared with what it predicts
            name = last.name.replace("input", "target", 1)
            last = found[-1] = replace(last, kind="target", name=name)
        if last is not None and last.kind == "target" and not compares(context, call):
            code = code_of(call, one)  # it is no target: it is called as it is written
            found[-1] = replace(last, name=f"tensor `{code}`" if code else last.name)
    if len(ref.shape) == len(other.shape) and _is_layer(found[1]):
        if not _is_layer(found[0]) and found[0] is not None:
            if found[0].kind in ("target", "input"):
                found.reverse()  # the target is believed
    if len(ref.shape) == len(other.shape) and _stretched_before(context, other, ref):
        found.reverse()  # it was stretched on its way, by a term of its own
    dropper = found[1]
    if len(other.shape) < len(ref.shape) and dropper is not None:
        if dropper.kind == "function" and dropper.name in _EXPLICIT:
            if not _beside_data(context, other):
                found.reverse()  # who dropped a dimension, before who kept one
    found.append(culprit(context, call, "stretches its operands"))
    return found


def _is_layer(one: Culprit | None) -> bool:
    return one is not None and one.kind == "module"


def _dropper(context: CheckContext, ref: TensorRef) -> Culprit | None:
    """What gave a tensor fewer dimensions: its last reshape, or the data itself."""
    if context.is_raw_data(ref.id):
        return data_culprit(context, _start(context, ref.id), f"has shape {ref.shape}")
    todo, seen = [ref.id], {ref.id}
    while todo:
        call = context.made_by(todo.pop(0))
        if call is None or not call.inputs or is_loss(call.name):
            continue
        if len(call.inputs[0].shape) > len(ref.shape):
            if _written(call):  # else a library's own step, which no user can change
                return culprit(context, call, f"makes {ref.shape}")
            continue
        for one in call.inputs:
            if one.shape == ref.shape and one.id not in seen:
                seen.add(one.id)
                todo.append(one.id)
    return None


def _beside_data(context: CheckContext, ref: TensorRef) -> bool:
    """Whether what a tensor is made of, element by element, met data of that shape, as
    the rewards of a target: one dimension more would have been stretched there."""
    todo, seen = [ref], {ref.id}
    while todo:
        call = context.made_by(todo.pop().id)
        for one in () if call is None else call.inputs:
            if one.shape == ref.shape and one.id not in seen:
                if context.is_raw_data(one.id):
                    return True
                seen.add(one.id)
                todo.append(one)
    return False


def _stretched_before(context: CheckContext, other: TensorRef, ref: TensorRef) -> bool:
    """Whether a term of a tensor has the shape of what it is compared with."""
    todo, seen = [other], {other.id}
    while todo:
        call = context.made_by(todo.pop().id)
        for one in () if call is None else call.inputs:
            if one.shape == ref.shape and one.id != ref.id:
                return True
            if one.shape == other.shape and one.id not in seen:
                seen.add(one.id)
                todo.append(one)
    return False


def _written(call: FunctionCall) -> bool:
    """Whether the user's line names the call, as far as the line is known."""
    line = text(call.source)
    return not line or call.name == "getitem" or plain(call.name) in line


def _start(context: CheckContext, tensor: int) -> int:
    """The data tensor that a tensor was made from."""
    for _ in range(100):
        call = context.made_by(tensor)
        if call is None or not call.inputs:
            break
        tensor = call.inputs[0].id
    return tensor


def _odd_one(context: CheckContext, ref: TensorRef, low: TensorRef) -> Culprit | None:
    """Who made the dimension of 1 that the other operand has not, or the width of a
    layer's that stands beside as many samples as the other has."""
    if context.is_raw_data(ref.id):
        return data_culprit(context, _start(context, ref.id), f"has shape {ref.shape}")
    ones = [dim for dim, size in enumerate(ref.shape) if size == 1]
    if ones:
        return _maker_of_one(context, ref, ones[-1], None)
    last = len(ref.shape) - 1
    if without(ref.shape, last) != low.shape:
        return None
    if not context.axes.from_parameter(ref.id, last):
        return None
    width, samples = ref.shape[last], ref.shape[0]
    reason = f"makes {width} for each of the {samples}, the other side has one for each"
    return size_culprit(context, ref.id, last, reason)


def _maker_of_one(
    context: CheckContext, ref: TensorRef, dim: int, expected: int | None
) -> Culprit | None:
    reason = f"makes dimension {dim} of size 1"
    for hop in context.graph.trail(ref.id, dim).hops:
        if isinstance(hop.call, FunctionCall) and hop.call.name == "gather":
            # the 1 is the index's, but the prediction is what gather makes of it
            return culprit(context, hop.call, reason, dim, 1, expected)
    return size_culprit(context, ref.id, dim, reason, expected)


# -- hand-written ones ---------------------------------------------------------------


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
    found = misaligned(context, rule, call)
    if found is not None or lead != 1 or not _outside(context, call, tall, low):
        return found
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
    if not _both_batch(context, tall, low) or _meant(context, call, tall, low):
        return None
    if meets_matrix(context, call):
        return None
    dim = stretched[0] + 1
    return _report(context, rule, call, tall, low, dim, low.shape[stretched[0]])


def _outside(
    context: CheckContext, call: FunctionCall, tall: TensorRef, low: TensorRef
) -> bool:
    """Between the modules; or inside of one, where data meets a prediction."""
    if call.parent is None:
        return True
    if plain(call.name) not in _MISFITS:
        return False
    return context.is_raw_data(tall.id) != context.is_raw_data(low.id)


def _both_batch(context: CheckContext, tall: TensorRef, low: TensorRef) -> bool:
    """Whether the first dimensions of both begin as dimension 0 of data, or are one
    dimension that the code has made, as copies of one sample."""
    if _one_axis(context, tall, low):
        return True
    for ref in (tall, low):
        roots: frozenset[Root] = context.axes.roots(ref.id, 0)
        if not roots or not context.axes.sure(ref.id, 0):
            return False
        if any(kind != "data" or dim != 0 for kind, _, dim in roots):
            return False
        if any(is_weight(context, tensor) for _, tensor, _ in roots):
            return False
    return True


def _one_axis(context: CheckContext, tall: TensorRef, low: TensorRef) -> bool:
    """Whether the first dimensions are one and the same, and no layer's, and the 1 of
    the tall one was not put there by its code."""
    axes, maker = context.axes, context.made_by(tall.id)
    if maker is None or plain(maker.name) in _EXPLICIT:
        return False
    roots = axes.roots(tall.id, 0)
    if roots != axes.roots(low.id, 0) or any(root == "parameter" for root, *_ in roots):
        return False
    return axes.sure(tall.id, 0) and axes.sure(low.id, 0)


def _meant(
    context: CheckContext, call: FunctionCall, tall: TensorRef, low: TensorRef
) -> bool:
    """All pairs on purpose: `d[:, None] - d`, or the 1 is put there in that line."""
    if context.undressed(tall.id) == context.undressed(low.id):
        return True
    maker = context.made_by(tall.id)
    while maker is not None and maker.inputs and plain(maker.name) in _EXPLICIT:
        if maker.source is not None and call.source is not None:
            if maker.source.line == call.source.line:
                return True
        maker = context.made_by(maker.inputs[0].id)
    return False


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
