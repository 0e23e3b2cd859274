"""Logarithms of a variance in a loss, of which the sign or the root is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.lines import instead
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8
#: sums that are walked through behind a total
_MOST = 256
#: what leaves the sign of each number, and adds it up at most
_KEEPS = ("view", "unit", "transpose", "expand", "copy", "cast", "total")


@check(
    "divergence-maximised",
    "warning",
    "a loss that has x added and exp(x) taken away falls without end as x grows: the "
    "divergence from a prior is subtracted where it was to be added",
)
def divergence_maximised(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for total, signs in _totals(context):
        for made, given in _with_exponentials(context, signs):
            if signs[(made.outputs or ())[0].id] != {-1} or signs[given.id] != {1}:
                continue
            who = _turned(context, total, made) or made
            yield finding(
                context,
                rule,
                made,
                f"of {given.shape} the loss at {total.source} adds the values and takes "
                "away their exponentials: the larger they are, the lower it is. Of a "
                "divergence, -0.5 · (1 + x - mean² - exp(x)), the minus is missing.",
                culprits=[
                    culprit(context, who, "gives the divergence the wrong sign"),
                    culprit(context, made, "is taken away from the loss"),
                ],
                fixes=["add the divergence to the loss with the other sign"],
                shapes=[("logarithm", given, None)],
                way=(given.id, None),
            )


@check(
    "variance-as-deviation",
    "warning",
    "exp(x) is a variance in the loss and scales the noise as if it were the standard "
    "deviation: samples come from another distribution than the one that is fitted",
)
def variance_as_deviation(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    noisy = list(_noisy(context))
    if not noisy:
        return
    for _, signs in _totals(context):
        variances = {
            context.undressed(given.id)
            for made, given in _with_exponentials(context, signs)
            if {-sign for sign in signs[given.id]} == signs[(made.outputs or ())[0].id]
        }
        for product, scale in noisy:
            given = scale.inputs[0]
            if context.undressed(given.id) not in variances:
                continue
            yield finding(
                context,
                rule,
                product,
                f"the noise is scaled by exp of {given.shape}, made at {scale.source}, "
                "and the loss takes the same exponential for the variance: its root, "
                "exp(x / 2), is the deviation.",
                culprits=[
                    culprit(context, scale, "is the variance"),
                    culprit(context, product, "scales noise by a variance"),
                ],
                fixes=[
                    instead(scale, "torch.exp(0.5 * {})")
                    or "scale the noise by exp(0.5 * x)"
                ],
                shapes=[("logarithm", given, None)],
                way=(given.id, None),
            )


def _totals(
    context: CheckContext,
) -> Iterator[tuple[FunctionCall, dict[int, set[int]]]]:
    """The backwards, and the signs with which each tensor is a part of their totals."""
    if not context.by_name.get("exp"):
        return
    for call in context.by_name.get("backward", ())[:_FIRST]:
        if call.inputs:
            yield call, _signs(context, call.inputs[0].id)


def _signs(context: CheckContext, total: int) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    todo = [(total, 1)]
    while todo and len(found) < _MOST:
        tensor, sign = todo.pop()
        if sign in found.setdefault(tensor, set()):
            continue
        found[tensor].add(sign)
        call = context.made_by(tensor)
        if call is not None:
            todo += [(ref.id, sign * one) for ref, one in _addends(call)]
    return found


def _addends(call: FunctionCall) -> list[tuple[TensorRef, int]]:
    """The tensors that a call adds up, each with its sign; none where it does more."""
    name, refs = plain(call.name), list(call.inputs)
    does = kind(name)
    if not refs or call.kwargs.get("alpha", 1) != 1:
        return []
    if name == "add":
        return [(ref, 1) for ref in refs]
    if name in ("sub", "subtract"):
        first = isinstance(call.args[0], TensorRef)
        return [(ref, 1 if first and not at else -1) for at, ref in enumerate(refs)]
    if name == "rsub":
        return [(ref, 1 if at else -1) for at, ref in enumerate(refs)]
    if name in ("neg", "negative"):
        return [(refs[0], -1)]
    if does == "scale" and len(refs) == 1:
        numbers = [one for one in call.args if isinstance(one, (int, float))]
        if len(numbers) == 1 and numbers[0] and isinstance(call.args[0], TensorRef):
            return [(refs[0], 1 if numbers[0] > 0 else -1)]
        return []
    if does in _KEEPS or name == "mean":
        return [(refs[0], 1)]
    return []


def _with_exponentials(
    context: CheckContext, signs: dict[int, set[int]]
) -> Iterator[tuple[FunctionCall, TensorRef]]:
    """The exponentials in a sum, of tensors that are in it themselves."""
    for tensor in signs:
        made = context.made_by(tensor)
        if made is not None and made.name == "exp" and made.inputs[0].id in signs:
            yield made, made.inputs[0]


def _turned(
    context: CheckContext, total: FunctionCall, made: FunctionCall
) -> FunctionCall | None:
    """The last call of a total that an exponential is behind, before any other is: who
    adds the divergence to the rest."""
    inside = context.descendants(ref.id for ref in made.outputs or ())
    ref = total.inputs[0]
    for _ in range(_MOST):
        call = context.made_by(ref.id)
        if call is None:
            return None
        within = [one for one, _ in _addends(call) if one.id in inside]
        if len(within) != 1:
            return None
        if len(call.inputs) == 1 and kind(call.name) == "scale":
            return call
        ref = within[0]
        if plain(call.name) in ("sub", "neg"):
            return call
    return None


def _noisy(context: CheckContext) -> Iterator[tuple[FunctionCall, FunctionCall]]:
    """The products of noise and an exponential."""
    for call in context.calls("mul"):
        if len(call.inputs) != 2:
            continue
        for noise, other in (call.inputs, call.inputs[::-1]):
            drawn = context.made_by(context.undressed(noise.id))
            scale = context.made_by(context.undressed(other.id))
            if drawn is None or scale is None or scale.name != "exp":
                continue
            if drawn.name in ("randn", "randn_like", "normal", "normal_"):
                yield call, scale
