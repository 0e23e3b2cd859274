"""Who made the dimension in which two operands stretch each other."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.fitting import compares, without
from shapetrace.checks.lines import code_of
from shapetrace.checks.report import culprit, data_culprit, size_culprit
from shapetrace.records import Culprit, FunctionCall, TensorRef
from shapetrace.signatures import is_loss, named
from shapetrace.source.place import text

#: calls that make a dimension of 1, or drop one, because the code says so
EXPLICIT = named("view", "unit", "transpose") | {"getitem"}


def stretchers(
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
    if len(ref.shape) == len(other.shape) + 1 > 3 and _is_layer(found[0]):
        if found[1] is not None and found[1].kind in ("target", "input"):
            found.reverse()  # maps have channels, one here: their labels lack them
    if len(ref.shape) == len(other.shape) and _stretched_before(context, other, ref):
        found.reverse()  # it was stretched on its way, by a term of its own
    dropper = found[1]
    if len(other.shape) < len(ref.shape) and dropper is not None:
        if dropper.kind == "function" and dropper.name in EXPLICIT:
            if not _beside_data(context, other):
                found.reverse()  # who dropped a dimension, before who kept one
    pairing = pairer(context, other, ref)
    if pairing is not None:
        reason = "makes a matrix of all pairs out of rows that belong together"
        found.insert(0, culprit(context, pairing, reason, dim))
    found.append(culprit(context, call, "stretches its operands"))
    return found


def pairer(
    context: CheckContext, ref: TensorRef, rows: TensorRef
) -> FunctionCall | None:
    """The call that made a matrix, `(N, N)`, of two operands with N rows of one batch
    each, which is compared with one row of as many; None where it is no such matrix."""
    if len(ref.shape) != 2 or ref.shape[0] != ref.shape[1]:
        return None
    if rows.shape[:1] != ref.shape[:1] or not _of_samples(context, rows, 0):
        return None
    while True:
        if not all(_of_samples(context, ref, dim) for dim in (0, 1)):
            return None
        call = context.made_by(ref.id)
        if call is None or not call.inputs:
            return None
        same = [one for one in call.inputs if one.shape == ref.shape]
        whole = [
            one for one in same if all(_of_samples(context, one, dim) for dim in (0, 1))
        ]
        if not whole:
            return call if len(call.inputs) > 1 else None
        ref = whole[0]


def _of_samples(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension is for certain the first of some data."""
    root = context.axes.sole(ref.id, dim)
    return root is not None and root[2] == 0


def _is_layer(one: Culprit | None) -> bool:
    return one is not None and one.kind == "module"


def _dropper(context: CheckContext, ref: TensorRef) -> Culprit | None:
    """What gave a tensor fewer dimensions: its last reshape, or the data itself."""
    if context.is_raw_data(ref.id):
        return data_culprit(context, ref.id, f"has shape {ref.shape}")
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


def _odd_one(context: CheckContext, ref: TensorRef, low: TensorRef) -> Culprit | None:
    """Who made the dimension of 1 that the other operand has not, or the width of a
    layer's that stands beside as many samples as the other has."""
    maker = context.made_by(ref.id)
    inside = maker is not None and maker.parent is not None and maker.inputs
    if context.is_raw_data(ref.id) and not inside:
        put = _put_there(context, ref)
        return put or data_culprit(context, ref.id, f"has shape {ref.shape}")
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


def _put_there(context: CheckContext, ref: TensorRef) -> Culprit | None:
    """The call that gave data its last dimension of size 1, on a line before what was
    computed of it since."""
    for dim in reversed(range(len(ref.shape))):
        trail = context.graph.trail(ref.id, dim)
        call = trail.end.call
        if ref.shape[dim] != 1 or not isinstance(call, FunctionCall):
            continue
        if len(trail.hops) > 1 and trail.hops[-1].origin.how == "new" and call.inputs:
            if plain(call.name) in EXPLICIT and _written(call):
                reason = f"puts dimension {dim} of size 1 there"
                return culprit(context, call, reason, dim, 1)
    return None


def _maker_of_one(
    context: CheckContext, ref: TensorRef, dim: int, expected: int | None
) -> Culprit | None:
    reason = f"makes dimension {dim} of size 1"
    for hop in context.graph.trail(ref.id, dim).hops:
        if isinstance(hop.call, FunctionCall) and hop.call.name == "gather":
            # the 1 is the index's, but the prediction is what gather makes of it
            return culprit(context, hop.call, reason, dim, 1, expected)
    return size_culprit(context, ref.id, dim, reason, expected)
