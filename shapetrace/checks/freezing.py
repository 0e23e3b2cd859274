"""Layers that were to be frozen by an attribute that torch does not look at."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.context import CheckContext
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import finding
from shapetrace.checks.training import Steps, behind
from shapetrace.records import Culprit, Diagnosis, FunctionCall
from shapetrace.source.called import module_path
from shapetrace.source.filling import is_set_by

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8


@check(
    "freeze-without-effect",
    "warning",
    "`requires_grad = False` on a module sets an attribute that nothing reads: its "
    "parameters learn on",
)
def freeze_without_effect(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
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
