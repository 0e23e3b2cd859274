"""Terms of a loss that are made of weights which were taken out of autograd: they are
added, and nothing follows them."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import instead, without_data
from shapetrace.checks.gradients.gradient import terms
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Diagnosis, FunctionCall
from shapetrace.signatures import kind


def dead_penalties(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """`loss + 0.1 * layer.weight.data.norm()`: of a penalty on weights alone. What was
    made of data without a gradient may be what the rest is held against."""
    totals = [call.inputs[0] for call in context.calls("backward") if call.inputs]
    for tensor in sorted(terms(context, totals)):
        made = context.made_by(tensor)
        if made is None or context.axes.descends(tensor, RECORDED):
            continue
        cut = _cut(context, tensor)
        if cut is not None:
            yield _found(context, rule, made, cut)


def _cut(context: CheckContext, tensor: int) -> FunctionCall | None:
    """The call that takes a weight that learns out of autograd, where a tensor is made
    of such weights alone."""
    todo, seen, found = [tensor], {tensor}, None
    while todo:
        call = context.made_by(todo.pop())
        if call is None:
            continue
        if not call.inputs and kind(call.name) != "fill":
            return None  # data that was made here
        for ref in call.inputs:
            if context.made_by(ref.id) is None:
                if not context.axes.descends(ref.id, RECORDED):
                    return None
                if kind(call.name) == "detach" or not call.grad and call.parent is None:
                    found = call  # a layer's call may be made again, in the backward
            elif ref.id not in seen:
                seen.add(ref.id)
                todo.append(ref.id)
    return found


def _found(
    context: CheckContext, rule: Check, term: FunctionCall, cut: FunctionCall
) -> Diagnosis:
    weight = next(ref for ref in cut.inputs if context.made_by(ref.id) is None)
    origin = context.graph.origin(weight.id)
    named = origin is not None and origin.kind == "parameter"
    name = origin.name if origin is not None and named else "a weight"
    taken = {ref.id for ref in cut.outputs or ()}
    users = (call for ref in taken for call in context.graph.users.get(ref, ()))
    takers = [call for call in users if isinstance(call, FunctionCall)]
    blamed = [cut, *takers[:1]]
    if cut.name == "data":  # an attribute: the call that takes it is who has it
        blamed.reverse()
    how = "with autograd off" if kind(cut.name) != "detach" else f"by its {cut.name}"
    return finding(
        context,
        rule,
        term,
        f"{term.name} is added to the loss, and takes {name} {how}: it has no "
        "gradient, and does not change what is learned.",
        culprits=[culprit(context, call, "cuts the gradient") for call in blamed],
        fixes=[
            without_data(cut)
            or (instead(cut, "{}") if kind(cut.name) == "detach" else None)
            or "compute it with autograd on"
        ],
        shapes=[("parameter", weight, None)],
        way=(weight.id, None),
    )
