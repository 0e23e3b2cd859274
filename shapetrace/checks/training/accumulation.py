"""Gradients that several steps use, because nobody clears them, and gradients that are
changed when the step has used them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import finding
from shapetrace.checks.fixes.lines import in_other_order
from shapetrace.checks.fixes.statements import cleared
from shapetrace.records import Culprit, Diagnosis, FunctionCall, Range, TensorRef
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

#: pairs of steps that are looked at: a training loop makes the same again and again
_FIRST = 8
#: the same tensor under another name
_ALIASES = ("data", "detach", "requires_grad_")
#: what clips or scales gradients in their place, and leaves them in it
_SCALES = ("mul", "div")
_FORMS = ("", "_foreach_")
_CLIPS = ("clamp", "clamp_min", "clamp_max", "clip", "nan_to_num")
_CLIP = "clip_grad_norm_"
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


@check(
    "clipped-after-step",
    "warning",
    "gradients are clipped before backward() has made them, or when the step has used "
    "them: the step takes them as they are",
)
def clipped_after_step(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    early = _too_early(context, rule, ran)
    if early is not None:
        yield early
        return
    if not ran.steps or not ran.backwards or not _late(context, ran.steps[0]):
        return
    tensors = _Tensors(context)
    for at, step in enumerate(ran.steps[:_FIRST]):
        one = _taken(context, ran, tensors, step)
        call = None if one is None else tensors.scaled(one)
        if one is None or call is None:
            continue
        following = ran.steps[at + 1 : at + 1 + _FIRST]
        others = [_taken(context, ran, tensors, other) for other in following]
        if any(other and other.gradients & one.gradients for other in others):
            continue  # they add up over several steps
        if _made_anew(ran, step, following):
            yield _too_late(context, rule, call, step)
            return


def _too_early(context: CheckContext, rule: Check, ran: Steps) -> Diagnosis | None:
    """A norm of no gradients, for which `clip_grad_norm_` makes a 0, and a backward and
    a step after it, with nothing between them that clips."""
    for call in context.calls("tensor"):
        line = find(call.source)
        if call.inputs or line is None or not isinstance(line.tree, ast.Call):
            continue
        if last_name(line.tree.func) != _CLIP:
            continue
        step = next((one for one in ran.steps if one.order > call.order), None)
        if step is None:
            continue
        between = [b for b in ran.backwards if call.order < b.order < step.order]
        if not between:
            continue
        start, calls = between[-1].index, context.graph.rec.functions
        ahead = takewhile(lambda one: one.order < step.order, calls[start + 1 :])
        if any(map(_scales, ahead)):
            continue
        return _unmade(context, rule, call, between[0])
    return None


def _late(context: CheckContext, step: Range) -> bool:
    """Whether anything is scaled or clipped in its place when a step is done."""
    names = [f"{before}{name}" for name in (*_SCALES, *_CLIPS) for before in _FORMS]
    return any(
        call.order > step.end_order and call.name.endswith("_")
        for name in names
        for call in context.by_name.get(name, ())
    )


def _made_anew(ran: Steps, step: Range, later: list[Range]) -> bool:
    """Whether the gradients of a step are none of the next: one has others, or they are
    cleared, here or, in a loop, before the backward."""
    start = max([one.end_order for one in ran.steps if one.order < step.order] or [-1])
    return any(one.source == step.source for one in later) or any(
        one.order > start for one in ran.clears
    )


class _Tensors:
    """Which ids are one tensor: what is written to in its place gets a new one."""

    def __init__(self, context: CheckContext) -> None:
        self._calls = context.graph.rec.functions
        self._first: dict[int, int] = {}
        self._writes: dict[int, list[FunctionCall]] = {}
        for call in self._calls:
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

    def scaled(self, taken: Taken) -> FunctionCall | None:
        """What clips or scales the gradients of a step right after it: by infinity, so
        that nothing is changed, their norm alone is wanted."""
        found = {
            call.index: call
            for tensor in taken.gradients
            for call in self._writes.get(tensor, ())
            if call.order > taken.step.end_order and call.source is not None
        }
        first = found[min(found)] if found else None
        if first is None or not _scales(first):
            return None
        asked = [one for one in self._calls if one.source == first.source]
        given = [arg for one in asked for arg in (*one.args, *one.kwargs.values())]
        return None if math.inf in given else first


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
    if call.name == _UNSCALES or name in _CLIPS:
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
        fixes=[
            cleared(backward, step.source)
            or "clear the gradients before backward(), with zero_grad()"
        ],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )


def _unmade(
    context: CheckContext, rule: Check, call: FunctionCall, backward: FunctionCall
) -> Diagnosis:
    reason = "finds no gradients"
    return finding(
        context,
        rule,
        call,
        f"{_CLIP} finds no gradients: backward() at {backward.source} makes them after "
        "it, and the step takes them as they are.",
        culprits=[
            Culprit("function", _CLIP, source=call.source, reason=reason),
            Culprit("function", "backward", source=backward.source),
        ],
        fixes=[
            in_other_order(call.source, backward.source)
            or "clip the gradients between backward() and step()"
        ],
    )


def _too_late(
    context: CheckContext, rule: Check, call: FunctionCall, step: Range
) -> Diagnosis:
    line = find(call.source)
    name = plain(call.name)
    if line is not None and isinstance(line.tree, ast.Call):
        name = last_name(line.tree.func) or name
    reason = "changes gradients that step() has used"
    who = Culprit("function", name, source=call.source, reason=reason)
    return finding(
        context,
        rule,
        call,
        f"{name} changes the gradients when step() at {step.source} has used them, and "
        "the next step has others: nothing is clipped.",
        culprits=[
            who,
            Culprit("function", "step", source=step.source, reason="stands before it"),
        ],
        fixes=[in_other_order(step.source, call.source)],
    )
