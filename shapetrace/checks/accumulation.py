"""Gradients that one step after the other uses, because nobody clears them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import finding
from shapetrace.checks.training import Steps
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, Range, TensorRef
from shapetrace.source.line import find

#: pairs of steps that are looked at: a training loop makes the same again and again
_FIRST = 8
#: the same tensor under another name
_ALIASES = ("data", "detach", "requires_grad_")
#: what clips or scales gradients in their place, and leaves them in it
_SCALES = ("mul", "div", "clamp", "clip", "nan_to_num")
_UNSCALES = "_amp_foreach_non_finite_check_and_unscale_"


class Taken(NamedTuple):
    """What one step takes: its parameters, and its gradients, as tensors that are the
    same whatever is written to them."""

    step: Range
    parameters: frozenset[int]
    gradients: frozenset[int]


@check(
    "gradients-not-cleared",
    "warning",
    "a backward adds to gradients that a step has used already: without zero_grad() "
    "each step goes along the sum of all gradients so far",
)
def gradients_not_cleared(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    if len(ran.steps) < 2 or not ran.backwards:
        return
    tensors = _Tensors(context)
    before: dict[object, Taken] = {}
    pairs = 0
    for step in ran.steps:
        taken = _taken(context, ran, tensors, step)
        if taken is None:
            continue
        key = (step.source, min(taken.parameters))
        last, before[key] = before.get(key), taken
        if last is None:
            continue
        if (pairs := pairs + 1) > _FIRST:
            return
        backward = _between(ran, last.step, step)
        kept = last.gradients & taken.gradients
        if backward is None or 2 * len(kept) <= len(taken.parameters):
            continue
        if not any(tensors.cleared(one, last.step, step) for one in kept):
            yield _never_cleared(context, rule, backward, step)
            return


class _Tensors:
    """Which ids are one tensor: what is written to in its place gets a new one."""

    def __init__(self, context: CheckContext) -> None:
        self._first: dict[int, int] = {}
        self._writes: dict[int, list[FunctionCall]] = {}
        for call in context.graph.rec.functions:
            if call.name in _ALIASES and len(call.inputs) == 1:
                for ref in call.outputs or ():
                    self._first[ref.id] = self.of(call.inputs[0].id)
            else:
                for old, new in written(call):
                    self._first[new.id] = self.of(old.id)
                    self._writes.setdefault(self.of(old.id), []).append(call)

    def of(self, tensor: int) -> int:
        return self._first.get(tensor, tensor)

    def cleared(self, tensor: int, start: Range, end: Range) -> bool:
        """Whether something other than clipping or scaling is written to a tensor
        between two steps."""
        return any(
            start.end_order < call.order < end.order and not _scales(call)
            for call in self._writes.get(tensor, ())
        )


def written(call: FunctionCall) -> list[tuple[TensorRef, TensorRef]]:
    """The tensors that a call writes to, each before and after."""
    if call.name != "setitem" and not call.name.endswith("_"):
        return []
    outputs = call.outputs or ()
    count = len(outputs) if call.name.startswith("_foreach_") else 1
    return list(zip(call.inputs[:count], outputs))


def _scales(call: FunctionCall) -> bool:
    """Whether a call clips gradients or divides them by a scale. By a number that the
    code has chosen, they are let fade on purpose."""
    name = plain(call.name).removeprefix("_foreach_")
    if call.name == _UNSCALES or name in ("clamp", "clip", "nan_to_num"):
        return True
    count = 2 * len(call.outputs or ()) if name == call.name else 2
    return name in _SCALES and len(call.inputs) >= min(count, 2)


def _taken(
    context: CheckContext, ran: Steps, tensors: _Tensors, step: Range
) -> Taken | None:
    """What a step of torch's own optimizer takes and does not write to: gradients are
    of the shape of a parameter. An optimizer of the user's may hold other tensors."""
    calls = ran.inside(step)
    if any(call.source != step.source for call in calls):
        return None
    changed = {
        tensors.of(old.id) for call in calls for old, _ in _held(call) if old.shape
    }
    graph = context.graph
    weights = [
        ref for call in calls for ref in call.inputs if graph.is_parameter(ref.id)
    ]
    if not weights:
        return None
    shapes = {ref.shape for ref in weights}
    made = {ref.id for call in calls for ref in call.outputs or ()}
    gradients = frozenset(
        tensors.of(ref.id)
        for call in calls
        for ref in call.inputs
        if ref.shape in shapes and ref.id not in made
        if not graph.is_parameter(ref.id)
    )
    parameters = frozenset(tensors.of(ref.id) for ref in weights)
    return Taken(step, parameters, gradients - changed)


def _held(call: FunctionCall) -> list[tuple[TensorRef, TensorRef]]:
    """What a call of an optimizer writes to; of a fused one, whose results are not
    seen, all but the gradients, which are its second list."""
    found = written(call)
    if not found and call.name.endswith("_"):
        return [(r, r) for r in call.inputs if not r.path.startswith("args[1]")]
    return found


def _between(ran: Steps, start: Range, end: Range) -> FunctionCall | None:
    """The last backward between two steps."""
    found = [b for b in ran.backwards if start.end_order < b.order < end.order]
    return found[-1] if found else None


def _never_cleared(
    context: CheckContext, rule: Check, backward: FunctionCall, step: Range
) -> Diagnosis:
    total = backward.inputs[0]
    reason = "adds to gradients that a step has used"
    who = Culprit("function", "backward", source=backward.source, reason=reason)
    return finding(
        context,
        rule,
        backward,
        f"backward() adds to the gradients that step() at {step.source} has used in "
        "the iteration before: nobody has cleared them since.",
        culprits=[who],
        fixes=[_cleared_before(backward, step)],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )


def _cleared_before(backward: FunctionCall, step: Range) -> Fix:
    """`optimizer.zero_grad()` before the backward, by the name that steps."""
    name, at, line = "optimizer", find(step.source), find(backward.source)
    if at is not None and isinstance(at.tree, ast.Call):
        func = at.tree.func
        if isinstance(func, ast.Attribute) and func.attr == "step" and not at.tree.args:
            name = at.text(func.value)
    clear = f"{name}.zero_grad()"
    if line is None:
        return Fix(clear, detail="before backward()")
    return Fix(line.inserted(clear), where=line.source)
