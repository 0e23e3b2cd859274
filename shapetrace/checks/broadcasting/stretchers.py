"""Who made the dimension in which one of two operands is stretched to the other, where
both have as many dimensions."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.report import culprit, size_culprit
from shapetrace.checks.fixes.lines import code_of
from shapetrace.records import Culprit, FunctionCall, TensorRef
from shapetrace.signatures import named

#: calls that make a dimension of 1, or drop one, because the code says so
EXPLICIT = named("view", "unit", "transpose") | {"getitem"}


def stretchers(
    context: CheckContext,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
    dim: int,
) -> list[Culprit | None]:
    """Who made the dimension of 1: of a prediction the call that made it, of the user's
    data the data; then the other side."""
    found: list[Culprit | None] = []
    for one, two in ((ref, other), (other, ref)):
        size = one.shape[dim]
        if size == 1:
            last = _maker_of_one(context, one, dim, two.shape[dim])
        else:
            last = size_culprit(context, one.id, dim, f"makes {size}", 1)
        if last is not None and last.kind == "input" and context.is_raw_data(one.id):
            # given to the model, but to be compared with what it predicts
            name = last.name.replace("input", "target", 1)
            last = replace(last, kind="target", name=name)
        if last is not None and last.kind == "target" and not compares(context, call):
            code = code_of(call, one)  # it is no target: it is called as it is written
            last = replace(last, name=f"tensor `{code}`" if code else last.name)
        found.append(last)
    if _is_layer(found[1]) and not _is_layer(found[0]) and found[0] is not None:
        if found[0].kind in ("target", "input"):
            found.reverse()  # the target is believed
    if _stretched_before(context, other, ref):
        found.reverse()  # it was stretched on its way, by a term of its own
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


def _maker_of_one(
    context: CheckContext, ref: TensorRef, dim: int, expected: int | None
) -> Culprit | None:
    reason = f"makes dimension {dim} of size 1"
    for hop in context.graph.trail(ref.id, dim).hops:
        if isinstance(hop.call, FunctionCall) and hop.call.name == "gather":
            # the 1 is the index's, but the prediction is what gather makes of it
            return culprit(context, hop.call, reason, dim, 1, expected)
    return size_culprit(context, ref.id, dim, reason, expected)
