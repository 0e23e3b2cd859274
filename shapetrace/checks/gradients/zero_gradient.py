"""Functions whose slope is 0 nearly everywhere, between layers and a loss."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Diagnosis, FunctionCall
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

#: steps, of which torch says that their derivative is 0
_STEPS = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")


@check(
    "zero-gradient",
    "warning",
    "what layers make is rounded on its only way to the loss: a step has a slope of 0, "
    "so that every gradient is, and the layers never change",
)
def zero_gradient(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    steps = {
        call.index: call
        for call in context.calls(*_STEPS)
        if call.grad and context.axes.descends(call.inputs[0].id, RECORDED)
        if not _has_its_own_gradient(call)
    }
    totals = [call.inputs[0].id for call in context.calls("backward") if call.inputs]
    if not steps or not totals:
        return
    weights, passed = _reached(context, totals, steps)
    for flat in passed:
        before, _ = _reached(context, [flat.inputs[0].id], {})
        if not before or before & weights:
            continue
        yield finding(
            context,
            rule,
            flat,
            f"all that is made before {plain(flat.name)} comes to the loss through it "
            "alone, and its gradient is 0.",
            culprits=[culprit(context, flat, "has a gradient of 0")],
            fixes=[
                context.trial(
                    instead(flat, "{}"), Change(flat, "args[0]", instead=True)
                )
            ],
            shapes=[("input", flat.inputs[0], None)],
            way=(flat.inputs[0].id, None),
        )


def _reached(
    context: CheckContext, tensors: Iterable[int], steps: dict[int, FunctionCall]
) -> tuple[set[int], list[FunctionCall]]:
    """What learns behind some tensors, as far as gradients go back, and the steps at
    which they end."""
    found, ends, todo = set[int](), list[FunctionCall](), list(tensors)
    seen = set(todo)
    while todo:
        tensor = todo.pop()
        call = context.made_by(tensor)
        if context.graph.is_parameter(tensor) or call is None:
            found.add(tensor)
            continue
        if call.index in steps:
            ends.append(call)
            continue
        for ref in call.inputs if call.grad else ():
            if ref.id not in seen and context.axes.descends(ref.id, RECORDED):
                seen.add(ref.id)
                todo.append(ref.id)
    return found, sorted(ends, key=lambda call: call.index)


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
