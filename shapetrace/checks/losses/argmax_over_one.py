"""The largest of a single score."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding, size_culprit
from shapetrace.records import Diagnosis, FunctionCall, TensorRef


@check(
    "argmax-over-one",
    "warning",
    "the place of the largest of one score is always 0: every prediction is class 0, "
    "whatever the model says",
)
def argmax_over_one(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    axes = context.axes
    for call in context.calls("argmax", "argmin", "max", "min"):
        given, dim = call.inputs[0], argument(call, "dim", 1)
        if type(dim) is not int or not given.shape or len(call.inputs) > 1:
            continue
        dim %= len(given.shape)
        if given.shape[dim] != 1 or max(given.shape) == 1:
            continue
        if not axes.from_parameter(given.id, dim) or not axes.sure(given.id, dim):
            continue
        place = _place(call)
        if place is None or not _is_judged(context, place):
            continue
        yield finding(
            context,
            rule,
            call,
            f"{call.name} looks for the largest along dimension {dim} of {given.shape},"
            " which has size 1: its place is 0 in every row.",
            culprits=[
                culprit(context, call, "has one score to choose from", dim, 1),
                size_culprit(context, given.id, dim, "makes one score"),
            ],
            fixes=[
                "compare the one score with a threshold instead, 0 for logits and 0.5 "
                "for probabilities"
            ],
            shapes=[("scores", given, dim)],
            way=(given.id, dim),
        )


def _place(call: FunctionCall) -> TensorRef | None:
    """The index that a call gives."""
    made = call.outputs or ()
    return made[0] if call.name.startswith("arg") else (made[1:] or (None,))[0]


def _is_judged(context: CheckContext, place: TensorRef) -> bool:
    """Whether an index is compared with labels: it is no action of a model that has
    only one."""
    made = context.descendants([place.id])
    for call in context.calls("eq", "ne"):
        sides = [ref for ref in call.inputs[:2] if ref.shape]
        hers = [ref.id in made for ref in sides]
        if hers.count(True) == 1 and len(sides) == 2:
            label = sides[hers.index(False)]
            if context.is_raw_data(label.id):
                return True
    return False
