"""Functions whose slope is 0 nearly everywhere, between a model and its loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.gradient import terms
from shapetrace.checks.lines import instead
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.checks.trying import Change
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Diagnosis, FunctionCall
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

#: steps, of which torch says that their derivative is 0
_STEPS = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")


@check(
    "zero-gradient",
    "warning",
    "the loss is computed of rounded values: the slope of a step is 0, so that every "
    "gradient is, and the model never changes",
)
def zero_gradient(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    steps = {
        call.index: call
        for call in context.calls(*_STEPS)
        if call.grad and context.axes.descends(call.inputs[0].id, RECORDED)
        if not _has_its_own_gradient(call)
    }
    totals = [call.inputs[0] for call in context.calls("backward") if call.inputs]
    if not steps:
        return
    learned = terms(context, totals)
    ends = [
        call
        for call in context.losses
        if any(ref.id in learned for ref in call.outputs or ())
    ]
    ends += [made for t in totals if (made := context.made_by(t.id)) is not None]
    for end in ends:
        flat = _flattened(context, end, steps)
        if flat is None:
            continue
        yield finding(
            context,
            rule,
            flat,
            f"all that {end.name} at {end.source} learns from goes through "
            f"{plain(flat.name)}, whose gradient is 0.",
            culprits=[
                culprit(context, flat, "has a gradient of 0"),
                culprit(context, end, "takes rounded values"),
            ],
            fixes=[
                context.trial(
                    instead(flat, "{}"), Change(flat, "args[0]", instead=True)
                )
            ],
            shapes=[("input", flat.inputs[0], None)],
            way=(flat.inputs[0].id, None),
        )


def _has_its_own_gradient(call: FunctionCall) -> bool:
    """Whether a call stands in the forward of an `autograd.Function`, whose backward
    says what its gradient is, or in a library."""
    line = find(call.source)
    if line is None:
        return True
    home = line.file.home(line.node)
    return isinstance(home, ast.FunctionDef) and any(
        last_name(one) == "staticmethod" for one in home.decorator_list
    )


def _flattened(
    context: CheckContext, end: FunctionCall, steps: dict[int, FunctionCall]
) -> FunctionCall | None:
    """The step through which alone a loss reaches parameters."""
    found, todo, seen = None, [end], {end.index}
    while todo:
        call = todo.pop()
        if call.index in steps:
            found = call
            continue
        for ref in call.inputs:
            if context.graph.is_parameter(ref.id):
                return None
            if not context.axes.descends(ref.id, RECORDED):
                continue
            made = context.made_by(ref.id)
            if made is None:
                return None  # something else learns
            if made.index not in seen and made.grad:
                seen.add(made.index)
                todo.append(made)
    return found
