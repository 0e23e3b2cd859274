"""Gradients that are cleared before an optimizer has used them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from shapetrace.checks.facts.steps import Steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import finding
from shapetrace.records import Culprit, Diagnosis, FunctionCall, Range, Source

#: a batch whose gradients are left out now and then was too large, or not finite
_LOST = 2


@check(
    "gradients-lost",
    "warning",
    "the gradients of most batches are cleared before any step has used them: of those "
    "that were to be added up, the last alone is left",
)
def gradients_lost(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    if ran.incomplete or context.graph.rec.left_out is not None:
        return
    lost: dict[Source | None, list[tuple[FunctionCall, Range]]] = {}
    used: dict[Source | None, int] = {}
    events: list[FunctionCall | Range] = [*ran.backwards, *ran.clears, *ran.steps]
    events.sort(key=lambda event: event.order)
    for backward, after in pairwise(events):
        if not isinstance(backward, FunctionCall) or isinstance(after, FunctionCall):
            continue
        if after in ran.steps:
            used[backward.source] = used.get(backward.source, 0) + 1
        elif not _is_read(context, backward, after):
            lost.setdefault(backward.source, []).append((backward, after))
    for place, pairs in lost.items():
        steps = used.get(place, 0)
        if len(pairs) >= max(_LOST, steps) and steps:
            yield _found(context, rule, pairs, len(pairs) + steps)


def _is_read(context: CheckContext, backward: FunctionCall, clear: Range) -> bool:
    """Whether anything may take a gradient before it is cleared: a copy of it, a norm.
    That `grad` is read is not recorded, so that any tensor of the shape of what learns
    may be one that no call has made."""
    graph, data = context.graph, context.module_inputs | context.targets
    shapes = {
        ref.shape for info in graph.rec.modules.values() for ref in info.parameters
    }
    for call in graph.rec.functions[backward.index + 1 :]:
        if call.order > clear.order:
            break
        for ref in call.inputs:
            outside = graph.origin(ref.id) is not None and ref.id not in data
            if outside and ref.shape in shapes and not graph.is_parameter(ref.id):
                return True
    return False


def _found(
    context: CheckContext,
    rule: Check,
    lost: list[tuple[FunctionCall, Range]],
    count: int,
) -> Diagnosis:
    backward, clear = lost[0]
    total = backward.inputs[0]
    reason = "clears gradients that no step has used"
    return finding(
        context,
        rule,
        backward,
        f"zero_grad() at {clear.source} clears the gradients of {len(lost)} of {count} "
        "backward() calls before a step has used them.",
        culprits=[
            Culprit("function", "zero_grad", source=clear.source, reason=reason),
            Culprit("function", "backward", source=backward.source),
        ],
        fixes=["call zero_grad() after step() alone, where step() is called"],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )
