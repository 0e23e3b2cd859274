"""Losses that compare a tensor with itself."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.records import Diagnosis, TensorRef
from shapetrace.signatures import losses_that, named

#: what leaves every number where it is
_SAME = named("copy", "cast", "detach", "view")
_DISTANCES = ("cosine_similarity", "pairwise_distance")


@check(
    "compared-with-itself",
    "warning",
    "a loss compares a tensor with itself: it is the same whatever the model does, and "
    "nothing is learned from it",
)
def compared_with_itself(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    losses = {call.index for call in context.calls(*losses_that(takes="values"))}
    for call in context.calls(*losses_that(takes="values"), *_DISTANCES, "sub"):
        pair = context.sides.get(call.index, call.inputs[:2])
        operands = [ref for ref in pair if ref is not None]
        if len(operands) < 2:
            continue
        one, two = operands
        if one.shape != two.shape or _origin(context, one) != _origin(context, two):
            continue
        if call.name == "sub" and not compares(context, call):
            continue
        if context.is_raw_data(one.id):
            continue
        who = data_culprit(context, two.id, "is the prediction itself")
        yield finding(
            context,
            rule,
            call,
            f"{call.name} is given one tensor of {one.shape} as both of its operands: "
            "the result is the same whatever the model does.",
            culprits=[
                who if call.index in losses else None,
                culprit(context, call, "compares a tensor with itself"),
            ],
            shapes=[("first", one, None), ("second", two, None)],
            way=(one.id, None),
        )


def _origin(context: CheckContext, ref: TensorRef) -> int:
    """The tensor whose numbers these are, each at its place."""
    tensor = ref.id
    call = context.made_by(tensor)
    while call is not None and plain(call.name) in _SAME and call.inputs:
        tensor = call.inputs[0].id
        call = context.made_by(tensor)
    return tensor
