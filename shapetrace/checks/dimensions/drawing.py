"""Random numbers that were to be drawn for each sample, and are drawn for each step."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.batches import SEQUENCES, Batches, sequence_roles
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: what makes a mask of random numbers, each by itself
_EACH = (
    *("sum", "scale", "pointwise", "compare", "cast", "copy", "expand", "view"),
    *("unit", "mask", "detach"),
)
#: calls between random numbers and what they are multiplied with
_NEAR = 8


@check(
    "drawn-for-all-samples",
    "warning",
    "stochastic depth draws one number for each entry of dimension 0, which is the "
    "time here: all samples lose the same steps, and none is dropped as a whole",
)
def drawn_for_all(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    if not context.of_kind("random"):
        return
    batches: Batches | None = None
    for call in context.calls("mul"):
        for mask, given in (call.inputs, call.inputs[::-1]) if _is_pair(call) else ():
            drawn = _drawn(context, mask, given)
            if drawn is None or not _is_added(context, call):
                continue
            at = _batch_behind(context, given)
            if at is None:
                batches = Batches(context) if batches is None else batches
                at = _batch_of_losses(context, given, batches)
            if at is None:
                continue
            count = given.shape[at]
            yield finding(
                context,
                rule,
                call,
                f"{drawn.name} draws one number for each of the {given.shape[0]} "
                f"entries of dimension 0 of {given.shape}, and the samples are its "
                f"dimension {at}: all {count} of them are dropped, or kept, together.",
                culprits=[
                    culprit(context, drawn, "draws along dimension 0", 0),
                    culprit(context, call, "drops for all samples alike", 0),
                ],
                shapes=[("mask", mask, 0), ("input", given, at)],
                way=(given.id, at),
            )
            break


def _is_pair(call: FunctionCall) -> bool:
    shapes = [ref.shape for ref in call.inputs]
    return len(shapes) == 2 and len(shapes[0]) == len(shapes[1]) > 2


def _drawn(
    context: CheckContext, mask: TensorRef, given: TensorRef
) -> FunctionCall | None:
    """The call that drew a mask, `(n, 1, 1)`, for the first dimension of what it is
    multiplied with."""
    count, *rest = mask.shape
    if count < 2 or set(rest) != {1} or given.shape[0] != count:
        return None
    if not context.axes.descends(given.id, PARAMETER):
        return None
    for _ in range(_NEAR):
        call = context.made_by(mask.id)
        if call is None:
            return None
        if kind(call.name) == "random":
            return call
        tensors = [ref for ref in call.inputs if ref.shape]
        if len(tensors) != 1 or kind(call.name) not in _EACH:
            return None
        mask = tensors[0]
    return None


def _is_added(context: CheckContext, call: FunctionCall) -> bool:
    """Whether what is left is added to what it was made of, a block's shortcut."""
    todo = [ref for ref in call.outputs or ()]
    for _ in range(_NEAR):
        if not todo:
            return False
        ref = todo.pop()
        for user, made in context.follow(ref.id):
            if plain(user.name) == "add" and len(user.inputs) == 2:
                if all(one.shape == ref.shape for one in user.inputs):
                    return True
            elif made.shape == ref.shape and kind(user.name) in _EACH:
                todo.append(made)
    return False


def _batch_behind(context: CheckContext, given: TensorRef) -> int | None:
    """The dimension that a layer takes for the batch, where it takes the first one of
    the same for the sequence; None where no layer says so."""
    axes = context.axes
    if len(given.shape) != 3:
        return None
    time, batch = (axes.roots(given.id, dim) for dim in (0, 1))
    if not time or not batch or time & batch:
        return None
    # a layer that was not told `batch_first` takes the batch for the sequence
    if any(dim == 0 for _, _, dim in time) or all(dim for _, _, dim in batch):
        return None
    for call in context.of_kind(*SEQUENCES):
        if sequence_roles(context, call) != (0, 1):
            continue
        ref = call.inputs[0]
        if (axes.roots(ref.id, 0), axes.roots(ref.id, 1)) == (time, batch):
            return 1
    return None


def _batch_of_losses(
    context: CheckContext, given: TensorRef, batches: Batches
) -> int | None:
    """The dimension that a loss takes for the batch beyond doubt, where the first one
    is none of those that any loss may take for it."""
    axes, first = context.axes, context.axes.roots(given.id, 0)
    among = {root for merged in batches.rows for root in merged} | batches.first.keys()
    if not axes.sure(given.id, 0) or not first or first & among:
        return None
    for dim in range(1, len(given.shape)):
        if given.shape[dim] > 1 and axes.roots(given.id, dim) & batches.sure:
            return dim
    return None
