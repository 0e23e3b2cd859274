"""Values weighed by shares that add up to 1, and averaged instead of summed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import prod

import torch

from shapetrace.checks.dimensions.softmax import over_batch
from shapetrace.checks.facts.arguments import argument, numbers_of, softmax_dim
from shapetrace.checks.facts.by_hand import is_tiny, normalised
from shapetrace.checks.facts.following import Places, Step, steps
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import renamed
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between the shares and the mean of what they weigh, and behind that
_NEAR = 12
#: what leaves each share what it is
_KEEPS = ("view", "unit", "transpose", "copy", "cast", "detach", "expand", "dropout")
#: behind which a factor is gone
_SCALE_FREE = ("norm", "unit_length")


@check(
    "expectation-averaged",
    "warning",
    "values that shares of a softmax weigh are averaged instead of summed: the shares "
    "add up to 1 already, and the result is divided by their number once more",
)
def expectation_averaged(context: CheckContext) -> Iterator[Diagnosis]:
    known = {one.call.index for one in over_batch(context)}
    seen: set[int] = set()
    for call, dim in _shares(context):
        if call.index in known or (call.outputs or ())[0].shape[dim] < 2:
            continue
        for step, size in _averaged(context, call, dim):
            mean = step.call
            if mean.index in seen or _is_scaled(context, mean, size):
                continue
            seen.add(mean.index)
            at = [d for d in _dims(mean) if step.given.shape[d] == size]
            yield finding(
                context,
                mean,
                f"{mean.name} divides {step.given.shape} by the {size} shares of "
                f"{call.name} at {call.source} that weigh it: they add up to 1 along "
                "that dimension, and a weighted sum is a mean already.",
                culprits=[
                    culprit(context, mean, f"divides by {size} once more", *at[:1]),
                    culprit(context, call, "gives shares that add up to 1", dim),
                ],
                fixes=[renamed(mean, "sum") if len(_dims(mean)) == 1 else None],
                shapes=[("weighed", step.given, at[0] if at else None)],
                way=(step.given.id, at[0] if at else None),
            )


def _shares(context: CheckContext) -> Iterator[tuple[FunctionCall, int]]:
    """The calls that give shares which add up to 1 along a dimension: a softmax, one in
    logarithms and its exponential, a division by the sum, and one-hot classes."""
    for one in normalised(context, "softmax", "softmin", "shares"):
        yield one.call, one.dim
    for call in context.calls("exp"):
        made = context.made_by(call.inputs[0].id)
        if made is not None and kind(made.name) == "log_softmax":
            dim = softmax_dim(made)
            if dim is not None:
                yield call, dim
    for call in context.calls("one_hot"):
        yield call, len((call.outputs or ())[0].shape) - 1


def _averaged(
    context: CheckContext, call: FunctionCall, dim: int
) -> Iterator[tuple[Step, int]]:
    """The means over `dim` of what the shares weigh, with the number of shares."""
    shares = (call.outputs or ())[0]
    todo: list[tuple[TensorRef, Places | None, bool, int]]
    todo = [(shares, None, False, 0)]
    seen = {shares.id}
    while todo:
        ref, places, weighed, count = todo.pop()
        for step in steps(context, ref, places):
            if dim in step.lost:
                if weighed and step.call.name == "mean" and _is_of_some(step.call):
                    yield step, shares.shape[dim]
                continue
            now = _weighs(context, call, step, dim, weighed)
            if now is not None and step.made.id not in seen and count < _NEAR:
                seen.add(step.made.id)
                todo.append((step.made, step.places, now, count + 1))


def _dims(call: FunctionCall) -> list[int]:
    """The dimensions that a mean is told."""
    told, rank = argument(call, "dim", 1), len(call.inputs[0].shape)
    dims = told if isinstance(told, (tuple, list)) else (told,)
    return [dim % rank for dim in dims if isinstance(dim, int) and rank]


def _is_of_some(call: FunctionCall) -> bool:
    """Whether a mean is over some dimensions, by their numbers: one over all makes a
    loss, of which the scale is a matter of taste."""
    return 0 < len(_dims(call)) < len(call.inputs[0].shape)


def _weighs(
    context: CheckContext, start: FunctionCall, step: Step, dim: int, weighed: bool
) -> bool | None:
    """Whether values are weighed behind a call; None where what it gives is neither the
    shares nor what they weigh."""
    call, name = step.call, plain(step.call.name)
    at = [d for d, held in enumerate(step.places) if held == {dim}]
    if len(at) != 1:
        return None
    whole = prod(step.made.shape) == prod(step.given.shape)
    if kind(name) in _KEEPS or name == "neg" or kind(name) == "pick" and whole:
        return weighed
    if name == "kl_div":  # not reduced: the shares are its target
        return weighed or step.position == 1
    others = [ref for ref in call.inputs if ref.id != step.given.id]
    if not others:
        return weighed if _is_small(call, weighed) else None
    if name not in ("mul", "multiply") or len(others) != 1:
        return None
    (other,) = others
    place = at[0] - len(step.made.shape) + len(other.shape)
    if place < 0 or other.shape[place] == 1:
        return weighed if weighed or not other.shape else None
    if weighed:
        return True
    hot = start.name == "one_hot"
    return True if _is_value(context, other, place, hot) else None


def _is_small(call: FunctionCall, weighed: bool) -> bool:
    """Whether a call adds, or allows at least, a number that changes no share, or takes
    a part of what is weighed: a factor above 1 may be the number of shares."""
    if kind(call.name) != "scale":
        return is_tiny(call)
    numbers = numbers_of(call)
    if len(numbers) != 1 or not weighed:
        return False
    divides = plain(call.name) not in ("mul", "multiply")
    return abs(numbers[0]) >= 1 if divides else abs(numbers[0]) <= 1


def _is_value(context: CheckContext, ref: TensorRef, dim: int, hot: bool) -> bool:
    """Whether an operand holds values, and is no mask; of one-hot classes: whether it
    is the logarithms of the shares of all classes."""
    for tensor, call in islice(context.graph.chain(ref.id), _NEAR):
        if context.graph.tensors[tensor].dtype is torch.bool:
            return False
        if kind(call.name) == "log_softmax":
            return True
        if kind(call.name) not in _KEEPS and call.name != "neg":
            break
    return not hot and ref.dtype.is_floating_point


def _is_scaled(context: CheckContext, mean: FunctionCall, size: int) -> bool:
    """Whether a mean is multiplied by the number of shares later, divided by another
    tensor, or given to what any factor is the same to."""
    todo = [(mean.outputs or ())[0]]
    for _ in range(_NEAR):
        if not todo:
            break
        for user, made in context.follow(todo.pop().id):
            does, numbers = kind(user.name), [a for a in user.args if type(a) is int]
            numbers += [int(a) for a in user.args if type(a) is float and a == int(a)]
            if does in _SCALE_FREE or user.name == "cosine_similarity":
                return True
            if does == "scale":
                if any(number and number % size == 0 for number in numbers):
                    return True
                if "div" in user.name and len(user.inputs) == 2:
                    return True
            elif does not in (*_KEEPS, "sum", "total", "reduce") and user.name != "neg":
                continue
            todo.append(made)
    return False
