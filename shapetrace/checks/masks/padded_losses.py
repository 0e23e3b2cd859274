"""Losses against constants, of which some stand behind the ends of sequences."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.masks.padding import hidden_before, takes_out
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.lineage.factors import Root
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import is_loss, kind
from shapetrace.signatures import loss as facts_of

#: layers that make something of the zeros that a padding is
_FILLS = ("linear", "convolution")


def padded_steps(
    context: CheckContext,
) -> Iterator[tuple[FunctionCall, int, FunctionCall]]:
    """Losses that compare every step of a sequence with a constant, each with the
    dimension of its prediction that holds the steps, and the call that leaves the
    padding out: attention under a mask, or the packing."""
    for loss in context.losses:
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None or not _counts_all(loss):
            continue
        if not _is_constant(context, target):
            continue
        for dim, time in _dimensions(context, given):
            where = hidden_before(context, given, time)
            where = where or _packed_before(context, given, time)
            if where is not None:
                yield loss, dim, where
                break


def _dimensions(
    context: CheckContext, given: TensorRef
) -> Iterator[tuple[int, frozenset[Root]]]:
    """What the dimensions of a tensor, flattened ones too, are made of, one by one."""
    for dim in range(len(given.shape)):
        if context.axes.sure(given.id, dim):
            for root in sorted(context.axes.roots(given.id, dim)):
                yield dim, frozenset((root,))


def _counts_all(loss: FunctionCall) -> bool:
    """Whether a loss of single values is reduced as it is, with no weights."""
    known = facts_of(loss.name)
    if known is None or known.class_dim is not None or not is_loss(loss.name):
        return False
    reduced = "reduction" not in loss.kwargs or loss.kwargs["reduction"] != "none"
    return reduced and "none" not in loss.args and len(loss.inputs) == 2


def _is_constant(context: CheckContext, target: TensorRef) -> bool:
    made = context.sources_of_values(target.id)
    return bool(made) and all(kind(call.name) == "fill" for call in made)


def _packed_before(
    context: CheckContext, given: TensorRef, time: frozenset[Root]
) -> FunctionCall | None:
    """The packing of a recurrent layer whose padded result a layer took, every step of
    it, where the packing has fewer steps than that: some are padding."""
    filled, found = False, None
    todo, seen = [given.id], {given.id}
    while todo:
        call = context.made_by(todo.pop())
        if call is None:
            continue
        if "pad_packed" in call.name:
            found = found or (call if _pads(context, call, time, given) else None)
            continue
        if takes_out(context, call, time):
            return None
        filled |= kind(call.name) in _FILLS
        for one in call.inputs:
            if context.axes.descends(one.id, PARAMETER) and one.id not in seen:
                seen.add(one.id)
                todo.append(one.id)
    return found if filled else None


def _pads(
    context: CheckContext,
    call: FunctionCall,
    time: frozenset[Root],
    given: TensorRef,
) -> bool:
    """Whether a packing has fewer steps than are compared, for all samples."""
    axes, made = context.axes, (call.outputs or ())[0]
    steps = [
        axis.size
        for dim in range(len(given.shape))
        for axis in axes.of(given.id, dim)
        if axis.roots & time
    ]
    samples = [made.shape[1 - d] for d in (0, 1) if axes.roots(made.id, d) & time]
    if not steps or len(samples) != 1:
        return False
    return call.inputs[0].shape[0] < samples[0] * max(steps)
