"""Gradient penalties whose norms are not those of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.following import Places, Step, steps
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead, operand
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between a gradient and the number that its norm is held against
_NEAR = 10
#: a number below this only keeps a square root finite
_TINY = 1e-2
_OUTPUTS, _INPUTS = "args[0]", "args[1]"


@check(
    "gradient-norm-dim",
    "warning",
    "a gradient penalty draws the norm of each part of a sample, or of a whole batch, "
    "to a number that is meant for the gradient of one sample",
)
def gradient_norm_dim(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls("grad"):
        given = [ref for ref in call.inputs if ref.path.startswith(_INPUTS)]
        samples = _scored(context, call)
        if samples < 2 or len(given) != len(call.outputs or ()):
            continue
        for of, gradient in zip(given, call.outputs or (), strict=True):
            rank, held = len(gradient.shape), context.graph.is_parameter(of.id)
            if held or rank < 2 or gradient.shape[0] != samples:
                continue
            found = _held_against(context, gradient)
            if found is None:
                continue
            reduced, lost = found
            left = [
                d for d in range(1, rank) if d not in lost and gradient.shape[d] > 1
            ]
            if 0 in lost or left:
                yield _wrong(context, rule, call, gradient, reduced, lost, left)


def _scored(context: CheckContext, call: FunctionCall) -> int:
    """The number of samples of which a gradient is taken, where each has one score;
    else 0: a score for each point of a sample has a gradient for each."""
    scores = [ref for ref in call.inputs if ref.path.startswith(_OUTPUTS)]
    if len(scores) != 1:
        return 0
    (score,) = scores
    made = context.made_by(score.id)
    if not score.shape and made is not None and kind(made.name) == "total":
        score = made.inputs[0]
    return score.shape[0] if score.shape and prod(score.shape) == score.shape[0] else 0


def _held_against(
    context: CheckContext, gradient: TensorRef
) -> tuple[Step, frozenset[int]] | None:
    """The first call that reduces a gradient on the way to a norm from which a number
    is taken, and which is squared then; with the dimensions that the norm is over."""
    todo: list[tuple[TensorRef, Places | None, Step | None, int]]
    todo = [(gradient, None, None, 0)]
    seen = {gradient.id}
    while todo:
        ref, places, reduced, count = todo.pop()
        for step in steps(context, ref, places):
            if reduced is not None and _takes_number(step.call):
                if _is_squared(context, step.made):
                    return reduced, _lost(gradient, step)
            elif len(step.call.inputs) > 1 or kind(step.call.name) == "choose":
                continue
            if step.made.id not in seen and count < _NEAR:
                first = step if step.lost else None
                seen.add(step.made.id)
                todo.append((step.made, step.places, reduced or first, count + 1))
    return None


def _lost(gradient: TensorRef, step: Step) -> frozenset[int]:
    held = frozenset[int]().union(*step.places)
    return frozenset(range(len(gradient.shape))) - held


def _takes_number(call: FunctionCall) -> bool:
    """Whether a call takes a number from a tensor that is no guard against 0."""
    numbers = [a for a in call.args if isinstance(a, (int, float))]
    if kind(call.name) != "sum" or len(call.inputs) != 1:
        return False
    return any(abs(number) > _TINY for number in numbers)


def _is_squared(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a difference is squared next, or what is left of it above 0."""
    for user, made in context.follow(ref.id):
        if kind(user.name) == "power" and user.name not in ("sqrt", "rsqrt"):
            return True
        if user.name == "mul" and len({one.id for one in user.inputs}) == 1:
            return len(user.inputs) == 2
        if kind(user.name) == "activation" or "clamp" in user.name:
            return any(kind(one.name) == "power" for one, _ in context.follow(made.id))
    return False


def _wrong(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    gradient: TensorRef,
    step: Step,
    lost: frozenset[int],
    left: list[int],
) -> Diagnosis:
    reduced, shape = step.call, gradient.shape
    each = prod(shape[1:])
    if 0 in lost:
        what = f"has dimension 0 in it, the {shape[0]} samples: all share one norm"
    else:
        named = ", ".join(map(str, left))
        what = (
            f"leaves dimension {named}: {prod(shape[d] for d in left)} norms a sample"
        )
    return finding(
        context,
        rule,
        reduced,
        f"{reduced.name} of the gradient {shape} {what}, where the {each} numbers of a "
        "sample's gradient have one.",
        culprits=[
            culprit(context, reduced, "is no norm of a sample", min(lost), None, each),
            culprit(context, call, "gives the gradient"),
        ],
        fixes=[_flattened(context, step)],
        shapes=[("gradient", gradient, left[0] if left else 0)],
        way=(gradient.id, None),
    )


def _flattened(context: CheckContext, step: Step) -> Fix | None:
    """The same with all that a sample has in one dimension."""
    call, given = step.call, step.given
    if len(given.shape) < 2:
        return None
    at = argument(call, "dim", 2 if "norm" in call.name else 1)
    if at in (1, -1, (1,), [1]):
        change = Change(call, given.path, (("flatten", 1),))
        fix = operand(call, given, "{}.flatten(1)")
        return context.trial(fix, change)
    if at is not None and not isinstance(at, (int, tuple, list)):
        return None
    how = "norm(2, dim=1)" if "norm" in call.name else "sum(1)"
    return instead(call, f"{{}}.flatten(1).{how}")
