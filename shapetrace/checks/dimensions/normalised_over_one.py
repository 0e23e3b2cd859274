"""What is normalised over dimensions in which there is one number alone."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import Diagnosis, FunctionCall, Severity, TensorRef
from shapetrace.signatures import kind

_MEANS = ("mean", "var_mean", "std_mean")
_SPREADS = ("std", "var", "var_mean", "std_mean", "norm")
#: what hands a statistic on to where it is used
_HANDS_ON = ("unit", "view", "expand", "detach", "copy", "cast")
_MAKES = (*_HANDS_ON, "pointwise", "power", "sum")
#: calls between a statistic and where it is used
_NEAR = 6


@check(
    "normalised-over-one",
    "warning",
    "what is normalised over a single number is the same whatever that number is: 0, "
    "NaN, or the bias of the norm",
)
def normalised_over_one(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls("layer_norm"):
        shape = argument(call, "normalized_shape", 1)
        if isinstance(shape, (tuple, list)) and all(size == 1 for size in shape):
            if prod(call.inputs[0].shape) > 1:
                yield _normed(context, rule, call)
    for call in context.calls("sub"):
        if len(call.inputs) != 2 or not call.outputs:
            continue
        given, other = call.inputs
        mean = _statistic(context, other, _MEANS, _HANDS_ON)
        if mean is None or mean.inputs[0].id != given.id or not _of_one(mean):
            continue
        spread = _divided(context, call)
        if spread is not None and _always(context, mean):
            yield _wrong(context, rule, call, mean, spread)


def _statistic(
    context: CheckContext, ref: TensorRef, names: tuple[str, ...], by: tuple[str, ...]
) -> FunctionCall | None:
    """The statistic that a tensor is, made to by others number by number."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or len(made.inputs) != 1:
            return None
        if made.name in names:
            return made
        if kind(made.name) not in by:
            return None
        ref = made.inputs[0]
    return None


def _of_one(call: FunctionCall) -> bool:
    """Whether a statistic has a number for each number it is taken of: there are
    several of them, and along others it would be one of many."""
    count = prod(call.inputs[0].shape)
    return count > 1 and prod((call.outputs or ())[0].shape) == count


def _divided(context: CheckContext, centred: FunctionCall) -> FunctionCall | None:
    """The deviation that what is freed from its mean is divided by."""
    made = (centred.outputs or ())[0]
    for user, _ in context.follow(made.id):
        if kind(user.name) != "scale" or len(user.inputs) != 2:
            continue
        other = next((ref for ref in user.inputs if ref.id != made.id), None)
        if other is None:
            continue
        spread = _statistic(context, other, _SPREADS, _MAKES)
        if spread is not None and _of_one(spread):
            return spread
    return None


def _always(context: CheckContext, mean: FunctionCall) -> bool:
    """Whether no other batch has more along these dimensions at the same place."""
    return all(
        _of_one(call) for call in context.calls(mean.name) if call.source == mean.source
    )


def _level(context: CheckContext, given: TensorRef) -> Severity | None:
    """A batch of one sample may be all that is wrong: features are standardised over
    the samples, and here is one."""
    axes = context.axes
    ones = [dim for dim, size in enumerate(given.shape) if size == 1]
    if any(dim and not _is_sample(context, given, dim) for dim in ones):
        return None
    if context.is_raw_data(given.id):
        return "note"
    others = [dim for dim, size in enumerate(given.shape) if size > 1]
    features = all(axes.from_parameter(given.id, dim) for dim in others)
    return "note" if features else None


def _is_sample(context: CheckContext, given: TensorRef, dim: int) -> bool:
    roots = context.axes.roots(given.id, dim)
    return any(root == "data" and place == 0 for root, _, place in roots)


def _wrong(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    mean: FunctionCall,
    spread: FunctionCall,
) -> Diagnosis:
    given = mean.inputs[0]
    dims = [dim for dim, size in enumerate(given.shape) if size == 1]
    told = argument(mean, "dim", 1)
    if isinstance(told, int):
        told = (told,)
    if isinstance(told, (tuple, list)) and all(type(one) is int for one in told):
        dims = [one % len(given.shape) for one in told]
    named = ", ".join(map(str, dims))
    return finding(
        context,
        rule,
        mean,
        f"{mean.name} and {spread.name} run over dimension {named} of {given.shape}, "
        "which has size 1: each number is its own mean, and what is left is 0 "
        "everywhere, or NaN, whatever the data.",
        culprits=[
            culprit(context, mean, "is the number itself", dims[0], 1),
            culprit(context, spread, "has one number to go by", dims[0], 1),
        ],
        shapes=[("input", given, dims[0])],
        way=(given.id, dims[0]),
        severity=_level(context, given),
    )


def _normed(context: CheckContext, rule: Check, call: FunctionCall) -> Diagnosis:
    given = call.inputs[0]
    last = len(given.shape) - 1
    return finding(
        context,
        rule,
        call,
        f"layer_norm normalises dimension {last} of {given.shape}, which has size 1: "
        "each number is its own mean, and the result is the bias, whatever the data.",
        culprits=[culprit(context, call, "normalises one number", last, 1)],
        shapes=[("input", given, last)],
        way=(given.id, last),
    )
