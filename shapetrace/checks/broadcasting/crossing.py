"""Batches that are stretched against each other where a dimension of 1 was kept on one
side and dropped on the other."""

from __future__ import annotations

from shapetrace.checks.broadcasting.pairs import meets_matrix, of_pairs
from shapetrace.checks.broadcasting.stretchers import EXPLICIT
from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import each_with_argument, with_argument
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import is_elementwise, kind

_REDUCES = ("reduce", "total", "choose")
#: what each number is made to by itself
_EACH = (
    "pointwise",
    "power",
    "activation",
    "sigmoid",
    "cast",
    "copy",
    "mask",
    "detach",
)
#: calls back from a tensor in which its dimension of 1 may have been put to use
_NEAR = 12


def crossed(context: CheckContext, rule: Check, call: FunctionCall) -> Diagnosis | None:
    """`(N, 1, H, W)` that meets `(N, H, W)`: the samples of the one are stretched along
    those of the other, and what comes of it is used as channels."""
    low, tall = sorted(call.inputs, key=lambda ref: len(ref.shape))
    if len(tall.shape) != len(low.shape) + 1 or len(low.shape) < 2:
        return None
    if tall.shape[1] != 1 or (tall.shape[0], *tall.shape[2:]) != low.shape:
        return None
    axes, count = context.axes, low.shape[0]
    roots = axes.roots(low.id, 0)
    if count < 2 or roots != axes.roots(tall.id, 0) or not axes.sure(low.id, 0):
        return None
    if any(root == "parameter" for root, _, _ in roots):
        return None
    dropper = _dropper(context, low)
    if dropper is None or not _is_channel(context, tall):
        return None
    if meets_matrix(context, call) or of_pairs(context, call):
        return None
    made = (call.outputs or ())[0]
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {low.shape} against {tall.shape} to {made.shape}: the "
        f"{count} samples of the one meet all {count} of the other, because "
        f"{dropper.name} drops the dimension that the other one has kept.",
        culprits=[
            culprit(context, dropper, f"makes {low.shape}", 1, count, 1),
            culprit(context, call, "stretches its operands", 1, count, 1),
        ],
        fixes=[_kept(context, dropper)],
        shapes=[("first", low, 0), ("second", tall, 1)],
        way=(low.id, 0),
    )


def _dropper(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The call that dropped dimension 1 of what a tensor is made of, element by
    element."""
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None or not call.inputs:
            return None
        given = call.inputs[0]
        if len(given.shape) == len(ref.shape) + 1:
            whole = (given.shape[0], *given.shape[2:]) == ref.shape
            drops = kind(call.name) in (*_REDUCES, "pick", "unit")
            return call if whole and drops else None
        same = [one for one in call.inputs if one.shape == ref.shape]
        if not same or kind(call.name) not in _EACH and not is_elementwise(call.name):
            return None
        ref = same[0]
    return None


def _is_channel(context: CheckContext, tall: TensorRef) -> bool:
    """Whether the dimension of 1 is a layer's, was left by a slice or a reduction, or
    has met channels: it was not put there for this call."""
    for _ in range(_NEAR):
        beside = [
            ref
            for user, _ in context.follow(tall.id)
            for ref in user.inputs
            if is_elementwise(user.name) and ref.id != tall.id
        ]
        if any(
            len(ref.shape) == len(tall.shape) and ref.shape[1] > 1 for ref in beside
        ):
            return True
        call = context.made_by(tall.id)
        if call is None or not call.inputs:
            return False
        same = [one for one in call.inputs if one.shape == tall.shape]
        if not same or kind(call.name) not in _EACH and not is_elementwise(call.name):
            if plain(call.name) not in EXPLICIT:
                return True
            return len(call.inputs[0].shape) == len(tall.shape)
        tall = same[0]
    return False


def _kept(context: CheckContext, dropper: FunctionCall) -> Fix | None:
    """The line that drops the dimension, with it kept, wherever the line drops it."""
    alike = [call for call in context.calls(dropper.name) if _is_alike(call, dropper)]
    if kind(dropper.name) not in _REDUCES or not dropper.direct:
        return None
    if argument(dropper, "dim", 1) not in (1, [1], (1,)):
        return None
    places = {call.source: call for call in alike}
    if len(places) < 2:
        fix = with_argument(dropper, "keepdim=True")
        return context.trial(fix, Change(dropper, "output", (("unsqueeze", 1),)))
    return each_with_argument(list(places.values()), "keepdim=True")


def _is_alike(call: FunctionCall, dropper: FunctionCall) -> bool:
    here, there = call.source, dropper.source
    return (
        here is not None
        and there is not None
        and (here.file, here.line) == (there.file, there.line)
        and [ref.shape for ref in call.inputs] == [r.shape for r in dropper.inputs]
        and argument(call, "dim", 1) == argument(dropper, "dim", 1)
    )
