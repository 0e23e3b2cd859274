"""Losses that compare a tensor with itself."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.records import Diagnosis
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
def compared_with_itself(context: CheckContext) -> Iterator[Diagnosis]:
    origin = context.undressed
    losses = {call.index for call in context.calls(*losses_that(takes="values"))}
    for call in context.calls(*losses_that(takes="values"), *_DISTANCES, "sub"):
        pair = context.sides.get(call.index, call.inputs[:2])
        operands = [ref for ref in pair if ref is not None]
        if len(operands) < 2:
            continue
        one, two = operands
        if one.shape != two.shape or origin(one.id, _SAME) != origin(two.id, _SAME):
            continue
        if call.name == "sub" and not compares(context, call):
            continue
        if context.is_raw_data(one.id):
            continue
        who = data_culprit(context, two.id, "is the prediction itself")
        yield finding(
            context,
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
