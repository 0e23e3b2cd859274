"""Layers that were to be frozen, and learn or move on: by an attribute that torch does
not look at, or with gradients that are zero and not None."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.steps import Steps, behind
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, Source
from shapetrace.source.called import module_path
from shapetrace.source.filling import is_set_by
from shapetrace.source.line import find

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8


@check(
    "freeze-without-effect",
    "warning",
    "layers that were frozen change all the same: a module's attribute freezes "
    "nothing, and a gradient of zeros leaves momentum and weight decay at work",
)
def freeze_without_effect(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from _moved_on(context, rule)
    told = {
        name: info
        for name, info in context.graph.rec.modules.items()
        if info.attributes.get("requires_grad") is False
        and not is_set_by(info, "requires_grad")  # with a meaning of its own
    }
    if not told:
        return
    trained = _trained(context)
    for name, info in told.items():
        begun = f"{name}." if name else ""
        own = [one for one in trained if one.startswith(begun)]
        if not own:
            continue
        call = trained[own[0]]
        path = module_path(context.graph.rec, name)
        yield finding(
            context,
            rule,
            call,
            f"{path}.requires_grad is False, and {own[0]} gets a gradient all the "
            f"same: a {info.type} has no such switch, its parameters have.",
            culprits=[Culprit("module", name, reason="is not frozen")],
            fixes=[f"freeze it with {path}.requires_grad_(False)"],
            shapes=[("output", ref, None) for ref in (call.outputs or ())[:1]],
        )


def _moved_on(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Parameters that were frozen before a backward, and that the step after it writes
    to: they still have a gradient, zeros that `zero_grad(set_to_none=False)` left."""
    frozen = {
        ref.id: call
        for call in context.functions
        if call.name == "requires_grad_" and argument(call, "requires_grad", 1) is False
        for ref in call.outputs or ()
        if context.graph.is_parameter(ref.id)
    }
    ran, told = Steps(context), set[Source | None]()
    for step in ran.steps if frozen else ():
        inside = ran.inside(step)
        for call in inside:
            freeze = frozen.get(call.inputs[0].id) if call.inputs else None
            if freeze is None or freeze.source in told or call.source != step.source:
                continue
            if not any(freeze.order < b.order < step.order for b in ran.backwards):
                continue
            if _moves(context, call, inside):
                told.add(freeze.source)
                yield _still_moves(context, rule, freeze, call)


def _moves(
    context: CheckContext, call: FunctionCall, inside: Sequence[FunctionCall]
) -> bool:
    """Whether a step writes more to a parameter than its gradient as it is, which is 0:
    what it keeps from earlier steps, or a share of the parameter itself."""
    if call.name == "mul_":
        return True
    made = [context.made_by(ref.id) for ref in call.inputs[1:]]
    return any(
        one is not None and inside[0].index <= one.index < call.index for one in made
    )


def _still_moves(
    context: CheckContext, rule: Check, freeze: FunctionCall, call: FunctionCall
) -> Diagnosis:
    name = context.graph.rec.origins[call.inputs[0].id].name
    layer = name.rpartition(".")[0]
    return finding(
        context,
        rule,
        freeze,
        f"{name} is frozen at {freeze.source}, and the step at {call.source} changes "
        "it all the same: it has a gradient from before, zeros and not None, and the "
        "optimizer goes on with its momentum or weight decay.",
        culprits=[
            Culprit("module", layer, reason="is still moved"),
            culprit(context, freeze, "leaves the gradient as it is"),
        ],
        fixes=[
            _without_gradient(freeze)
            or "set the gradients of what is frozen to None: `zero_grad()` does"
        ],
        shapes=[("parameter", call.inputs[0], None)],
    )


def _without_gradient(freeze: FunctionCall) -> Fix | None:
    """`parameter.grad = None` behind `parameter.requires_grad = False`."""
    line = find(freeze.source)
    if line is None or not isinstance(line.tree, ast.Attribute):
        return None
    if line.tree.attr != "requires_grad":
        return None
    code = f"{line.text(line.tree.value)}.grad = None"
    return Fix(line.inserted(code, after=True), where=line.source)


def _trained(context: CheckContext) -> dict[str, FunctionCall]:
    """The parameters that a backward gives a gradient, each with a call of it."""
    found: dict[str, FunctionCall] = {}
    for backward in Steps(context).backwards[:_FIRST]:
        for call in behind(context, backward.inputs[0].id):
            for ref in call.inputs:
                origin = context.graph.origin(ref.id)
                if origin is not None and origin.kind == "parameter":
                    if origin.requires_grad:
                        found.setdefault(origin.name, call)
    return found
