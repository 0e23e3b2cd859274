"""The training steps of a trace: its backwards, and what optimizers do after them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.lineage.optimizer_steps import STEP
from shapetrace.records import FunctionCall, ModuleCall, Range, Source

#: what torch calls the range in which gradients are cleared
_ZERO = "Optimizer.zero_grad#"


class Steps:
    """The steps of a trace's optimizers, each after the backward before it.

    Where the first calls of a long trace were dropped, only what comes after the first
    step that was kept is known to be whole.
    """

    def __init__(self, context: CheckContext) -> None:
        rec = context.graph.rec
        self._context = context
        self.incomplete = not rec.has_first
        ranges = sorted(rec.ranges, key=lambda one: one.order)
        steps = [one for one in ranges if one.name.startswith(STEP)]
        whole = steps[0].end_order if self.incomplete and steps else -1
        self.steps = [one for one in steps if one.order > whole]
        self.clears = [
            one for one in ranges if one.name.startswith(_ZERO) and one.order > whole
        ]
        #: the index of the first call that is looked at
        self.first = bisect_left(self._orders, whole)
        self.backwards = [
            call
            for call in context.by_name.get("backward", ())
            if call.inputs and call.index >= self.first
        ]

    def after(self, backward: FunctionCall) -> tuple[list[Range], list[Range]]:
        """The steps between a backward and the next one, and what clears gradients
        before the first of them; none where a step takes backwards into itself."""
        start, end = backward.order, float("inf")
        for call in self.backwards:
            if call.order > start:
                end = min(end, call.order)
        if any(one.order <= start <= one.end_order for one in self.steps):
            return [], []
        steps = [one for one in self.steps if start <= one.order < end]
        if not steps:
            return [], []
        first = steps[0].order
        return steps, [one for one in self.clears if start <= one.order < first]

    @cached_property
    def _orders(self) -> list[int]:
        return [call.order for call in self._context.graph.rec.functions]

    def inside(self, step: Range) -> Sequence[FunctionCall]:
        """The calls that a step makes."""
        first = bisect_left(self._orders, step.order)
        last = bisect_left(self._orders, step.end_order, first)
        return self._context.graph.rec.functions[first:last]

    def held(self, step: Range) -> set[str]:
        """The parameters that a step takes, as they are or by their `data`."""
        return set(self._parameters(self.inside(step)))

    def _parameters(self, calls: Iterable[FunctionCall]) -> Iterator[str]:
        for call in calls:
            for ref in call.inputs:
                if self._context.graph.is_parameter(ref.id):
                    yield self._context.graph.rec.origins[ref.id].name

    @cached_property
    def idle(self) -> set[Source | None]:
        """The places of steps in none of which anything was computed."""
        places = {step.source for step in self.steps}
        return places - {step.source for step in self.steps if self.inside(step)}

    @cached_property
    def trained(self) -> set[str]:
        """The parameters that any step takes, or that are written to without autograd
        once there are gradients; none where a step shows none of what it changes."""
        found: set[str] = set()
        for step in self.steps:
            held = self.held(step)
            if self.inside(step) and not held:
                return set()
            found |= held
        later = self._context.graph.rec.functions[self.backwards[0].index :]
        writes = (call for call in later if not call.grad and call.name[-1:] == "_")
        return found | set(self._parameters(writes))


def behind(context: CheckContext, tensor: int) -> list[FunctionCall]:
    """The calls that a tensor was made by, as far as gradients go back."""
    found, todo, seen = [], [tensor], {tensor}
    while todo:
        call = context.made_by(todo.pop())
        if call is None or not call.grad:
            continue
        found.append(call)
        for ref in call.inputs:
            if ref.id not in seen and context.axes.descends(ref.id, RECORDED):
                seen.add(ref.id)
                todo.append(ref.id)
    return found


def outermost(context: CheckContext, call: FunctionCall) -> int | None:
    """The outermost module call around a call."""
    module = context.graph.module_of(call)
    while module is not None and module.parent is not None:
        module = context.graph.rec.calls[module.parent]
    return None if module is None else module.index


def frozen_in(context: CheckContext) -> set[int]:
    """The parameters that were told in the block not to learn, as they were then."""
    return {
        ref.id
        for call in context.functions
        if call.name == "requires_grad_" and argument(call, "requires_grad", 1) is False
        for ref in call.outputs or ()
    }


def without_autograd(
    context: CheckContext, backward: FunctionCall
) -> Iterator[ModuleCall]:
    """The outermost modules in training, with weights that are to learn, that only ever
    run with autograd off, and of whose results a total is made. Weights that are
    written to otherwise, as an average of others, learn in that way."""
    rec, graph = context.graph.rec, context.graph
    on, off, written = set[str](), dict[str, ModuleCall](), set[str]()
    frozen = frozen_in(context)
    for call in rec.functions:
        weights = [ref for ref in call.inputs if graph.is_parameter(ref.id)]
        at = outermost(context, call)
        if at is None:
            outside = call.name.endswith("_") and not call.grad
            written |= {rec.origins[ref.id].name for ref in weights if outside}
        elif call.grad:
            on.add(rec.calls[at].name)
        elif any(
            rec.origins[ref.id].requires_grad and ref.id not in frozen
            for ref in weights
        ):
            off.setdefault(rec.calls[at].name, rec.calls[at])
    used = {
        ref.id for call in behind(context, backward.inputs[0].id) for ref in call.inputs
    }
    for name, module in off.items():
        info = rec.modules.get(name)
        begun = f"{name}." if name else ""
        if name in on or info is None or not info.training:
            continue
        if any(parameter.startswith(begun) for parameter in written):
            continue
        if context.descendants(ref.id for ref in module.outputs or ()) & used:
            yield module
