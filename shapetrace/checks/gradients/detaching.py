"""What an objective takes as a constant, and is made by a network that learns."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.facts.steps import behind, outermost
from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import operand
from shapetrace.lineage.dimensions import DATA, RECORDED
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind, losses_that
from shapetrace.source.line import find

#: calls between a value, or a log-probability, and where it is used
_NEAR = 16
#: what leaves a logarithm of a probability one, but for weights and ratios
_OF_LOGS = ("scale", "total", "pointwise", "reduce", "sum", "mask", "choose")
_SQUARES = ("pow", "square", "abs")


@check(
    "not-detached",
    "warning",
    "what an objective takes as given is made by the network that learns from it: "
    "rewards and the next value as a target, or what weighs a log-probability",
)
def not_detached(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from _weights(context, rule)
    yield from _targets(context, rule)


def _weights(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Log-probabilities weighed by rewards less a value that has a loss of its own."""
    learned: set[int] | None = None
    for call in context.calls("mul"):
        if len(call.inputs) != 2 or not call.grad:
            continue
        one, two = call.inputs
        for weight, log in ((one, two), (two, one)):
            made = _advantage(context, weight)
            if made is None or not _is_log_probability(context, log):
                continue
            value = _learned(context, made)
            if value is None or not _has_its_own_loss(context, made, value):
                continue
            if learned is None:
                learned = _behind_totals(context)
            if call.index not in learned:
                continue
            yield finding(
                context,
                rule,
                call,
                f"{call.name} weighs log-probabilities by {weight.shape}, in which "
                f"{made.name} at {made.source} has put a value that learns: the "
                "gradient goes on into it, which has a loss of its own.",
                culprits=[
                    culprit(context, made, "is not detached"),
                    culprit(context, call, "passes the gradient on"),
                ],
                fixes=[_detached(context, call, weight)],
                shapes=[("weight", weight, None), ("log-probability", log, None)],
                way=(weight.id, None),
            )
            break


def _targets(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Values that are fitted to rewards and a share of the next value, as the same
    network makes it in another call."""
    names = losses_that(takes="values")
    for call in context.calls(*names, "sub"):
        sides = context.sides.get(call.index, call.inputs[:2])
        pair = [ref for ref in sides if ref is not None and _learns(context, ref)]
        if len(pair) != 2 or call.name == "sub" and not compares(context, call):
            continue
        for value, target in (pair, pair[::-1]):
            made = _advantage(context, target)
            later = None if made is None else _learned(context, made)
            if made is None or later is None or not _is_scaled(context, later):
                continue
            if not _made_twice(context, value, later):
                continue
            yield finding(
                context,
                rule,
                call,
                f"{call.name} fits {value.shape} to a target that {made.name} at "
                f"{made.source} makes of data and of what the same network gives in "
                "another call: the gradient goes into both.",
                culprits=[
                    data_culprit(context, target.id, "is not detached"),
                    culprit(context, made, "puts a value that learns into the target"),
                ],
                fixes=[_detached(context, call, target)],
                shapes=[("prediction", value, None), ("target", target, None)],
                way=(target.id, None),
            )
            break


def _detached(context: CheckContext, call: FunctionCall, ref: TensorRef) -> Fix | None:
    fix = operand(call, ref, "{}.detach()")
    return context.trial(fix, Change(call, ref.path, (("detach", None),)))


def _is_scaled(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a value is multiplied by what does not learn, a discount or a mask."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return False
        learning = [one for one in made.inputs if _learns(context, one)]
        if kind(made.name) == "scale":
            return len(learning) == 1
        if plain(made.name) not in SAME_VALUES:
            return False
        ref = (learning or made.inputs)[0]
    return False


def _made_twice(context: CheckContext, one: TensorRef, two: TensorRef) -> bool:
    """Whether two values are made by the same parameters in calls of their own."""
    makers, weights = [], []
    for ref in (one, two):
        calls = behind(context, ref.id)
        makers.append({outermost(context, call) for call in calls} - {None})
        taken = (each.id for call in calls for each in call.inputs)
        weights.append({each for each in taken if context.graph.is_parameter(each)})
    apart = all(makers) and not makers[0] & makers[1]
    return apart and bool(weights[0]) and weights[0] == weights[1]


def _learns(context: CheckContext, ref: TensorRef) -> bool:
    return context.axes.descends(ref.id, RECORDED)


def _advantage(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The sum or difference of data and of what learns that a tensor is, with what
    shifts and scales it all left out."""
    for _ in range(_NEAR):
        if not _learns(context, ref):
            return None
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return None
        if kind(made.name) == "sum" and _learned(context, made) is not None:
            return made
        same = plain(made.name) in SAME_VALUES or made.name == "neg"
        if not same and kind(made.name) not in ("sum", "scale"):
            return None
        ref = next((one for one in made.inputs if one.shape), made.inputs[0])
    return None


def _learned(context: CheckContext, call: FunctionCall) -> TensorRef | None:
    """Of rewards, which do not learn, and what does, the latter; None for any other
    operands. Rewards may depend on what was sampled."""
    if len(call.inputs) != 2:
        return None
    one, two = call.inputs
    for data, value in ((one, two), (two, one)):
        known = context.axes.descends(data.id, DATA) and not _learns(context, data)
        if known and data.shape and _learns(context, value):
            return value
    return None


def _is_log_probability(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor is the logarithm of a probability that learns, or a weighted
    one, or a ratio to an old one."""
    if not _learns(context, ref):
        return False
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return False
        if kind(made.name) == "log_softmax" or _in_log_prob(made):
            return True
        if plain(made.name) == "log":
            return kind(_maker(context, made.inputs[0])) in ("softmax", "sigmoid")
        if plain(made.name) not in SAME_VALUES and kind(made.name) not in _OF_LOGS:
            return False
        ref = next(
            (one for one in made.inputs if _learns(context, one)), made.inputs[0]
        )
    return False


def _maker(context: CheckContext, ref: TensorRef) -> str:
    """The function that computed a tensor's numbers, a small number added or not."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            break
        if plain(made.name) not in SAME_VALUES and kind(made.name) != "sum":
            return made.name
        ref = made.inputs[0]
    return ""


def _in_log_prob(call: FunctionCall) -> bool:
    """Whether a distribution's `log_prob` makes a call."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return False
    func = line.tree.func
    return isinstance(func, ast.Attribute) and func.attr == "log_prob"


def _has_its_own_loss(
    context: CheckContext, made: FunctionCall, value: TensorRef
) -> bool:
    """Whether a loss fits a value to data, or squares what is left of the data."""
    start = context.undressed(value.id)
    names = losses_that(takes="values")
    for loss in context.calls(*names):
        sides = [ref for ref in context.sides.get(loss.index, ()) if ref is not None]
        if any(context.undressed(ref.id) == start for ref in sides):
            return True
    rests = [made]
    rests += [user for user, _ in context.follow(value.id) if kind(user.name) == "sum"]
    return any(
        plain(user.name) in _SQUARES or user.name in names
        for rest in rests
        for ref in rest.outputs or ()
        for user, _ in context.follow(ref.id)
    )


def _behind_totals(context: CheckContext) -> set[int]:
    """The calls that any backward goes through."""
    totals = {c.inputs[0].id for c in context.calls("backward") if c.inputs}
    return {call.index for total in totals for call in behind(context, total)}
