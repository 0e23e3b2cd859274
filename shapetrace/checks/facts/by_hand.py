"""What a group of calls computes that torch has a function for: a softmax of an
exponential and its sum, vectors of length 1 of a norm, a sigmoid."""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument, numbers_of, softmax_dim
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between a statistic of a tensor and the tensor that is divided by it
_NEAR = 6
#: what leaves a statistic what it is, one for each of its tensor's vectors
_KEEPS = ("cast", "copy", "unit", "expand", "detach")
#: a number that only keeps a quotient or a logarithm finite
_TINY = 1e-3
_POWERS = {"sqrt": 0.5, "rsqrt": -0.5}
_BY_HAND = ("div", "mul", "sub")
#: statistics that are taken off before an exponential, and change no share
_LARGEST = ("max", "amax", "logsumexp")


class Normalised(NamedTuple):
    """A call whose result is `given` normalised along `dim`; `by` is told which
    dimension that is. `does`: softmax, softmin, log_softmax, unit_length, or shares, of
    numbers that are no exponentials."""

    call: FunctionCall
    given: TensorRef
    dim: int
    does: str
    by: FunctionCall


def normalised(context: CheckContext, *does: str) -> list[Normalised]:
    """The calls that normalise so, torch's own and those by hand, in their order."""
    calls = [*context.of_kind(*does), *context.calls(*_BY_HAND)]
    found = [one for call in calls if (one := normalises(context, call)) is not None]
    return sorted((one for one in found if one.does in does), key=_order)


def _order(one: Normalised) -> int:
    return one.call.index


def normalises(context: CheckContext, call: FunctionCall) -> Normalised | None:
    """What a call normalises, and how; None where that is one dimension of no call."""
    if not call.inputs or not call.outputs:
        return None
    does, given = kind(call.name), call.inputs[0]
    if does in ("softmax", "softmin", "log_softmax"):
        dim = softmax_dim(call)
        return None if dim is None else Normalised(call, given, dim, does, call)
    if does == "unit_length":
        told, rank = argument(call, "dim", 2), len(given.shape)
        told = 1 if told is None else told
        if call.name != "normalize" or not isinstance(told, int) or not rank:
            return None
        return Normalised(call, given, told % rank, does, call)
    if len(call.inputs) != 2 or plain(call.name) not in _BY_HAND:
        return None
    one, two = call.inputs
    found = _by_hand(context, call, one, two)
    if found is None and plain(call.name) == "mul":
        found = _by_hand(context, call, two, one)
    return found


def _by_hand(
    context: CheckContext, call: FunctionCall, given: TensorRef, other: TensorRef
) -> Normalised | None:
    """A tensor, and what was made of its own vectors, one number for each."""
    if len(other.shape) != len(given.shape) or (call.outputs or ())[0].shape != (
        given.shape
    ):
        return None
    over = [d for d, size in enumerate(given.shape) if other.shape[d] != size]
    made = context.made_by(other.id)
    if len(over) != 1 or made is None:
        return None
    if plain(call.name) == "sub":
        total = _log_of_sum(context, other, given)
        does = "log_softmax"
    else:
        power = 1.0 if plain(call.name) == "div" else -1.0
        statistic = _statistic(context, other, power)
        if statistic is None:
            return None
        total, power = statistic
        does = _does(context, total, power, given) or ""
    if total is None or not does:
        return None
    if does == "softmax":
        given = _scores(context, given) or given
    return Normalised(call, given, over[0], does, total)


def _does(
    context: CheckContext, total: FunctionCall, power: float, given: TensorRef
) -> str | None:
    """What a tensor is by its statistic to some power."""
    of = total.inputs[0].id
    if total.name != "sum":
        return "unit_length" if of == given.id and power == 1 else None
    if of == given.id and power == 1:
        return "softmax" if _scores(context, given) is not None else "shares"
    squares = context.made_by(of)
    if power == 0.5 and squares is not None and squares.inputs:
        own = {ref.id for ref in squares.inputs} == {given.id}
        name, exponent = plain(squares.name), argument(squares, "exponent", 1)
        if own and (name in ("mul", "square") or name == "pow" and exponent == 2):
            return "unit_length"
    return None


def _statistic(
    context: CheckContext, ref: TensorRef, power: float
) -> tuple[FunctionCall, float] | None:
    """The sum or the norm that a tensor is, but for a tiny number, and to which power
    something is divided by it."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return None
        name = plain(made.name)
        if name == "sum" or "norm" in name and kind(name) == "reduce":
            return made, power
        if len(made.inputs) != 1:
            return None
        if name in _POWERS:
            power *= _POWERS[name]
        elif _is_inverse(made):
            power = -power
        elif name == "pow" and isinstance(
            number := argument(made, "exponent", 1), float
        ):
            power *= number
        elif kind(name) not in _KEEPS and not is_tiny(made):
            return None
        ref = made.inputs[0]
    return None


def _scores(context: CheckContext, shares: TensorRef) -> TensorRef | None:
    """The scores of which a tensor is the exponential, some of them masked."""
    made = context.made_by(shares.id)
    if made is not None and plain(made.name) == "mul" and len(made.inputs) == 2:
        masks = [context.is_raw_data(ref.id) for ref in made.inputs]
        if masks.count(True) == 1:
            made = context.made_by(made.inputs[masks.index(False)].id)
    if made is None or plain(made.name) != "exp":
        return None
    given = made.inputs[0]
    less = context.made_by(given.id)
    if less is not None and plain(less.name) == "sub" and len(less.inputs) == 2:
        most = context.made_by(context.undressed(less.inputs[1].id))
        if most is not None and plain(most.name) in _LARGEST:
            if most.inputs[0].id == less.inputs[0].id:
                return less.inputs[0]
    return given


def _log_of_sum(
    context: CheckContext, ref: TensorRef, given: TensorRef
) -> FunctionCall | None:
    """The call that sums the exponentials of a tensor, of whose sum a tensor is the
    logarithm."""
    made = context.made_by(ref.id)
    while made is not None and len(made.inputs) == 1 and is_tiny(made):
        made = context.made_by(made.inputs[0].id)
    if made is None or not made.inputs:
        return None
    if plain(made.name) == "logsumexp":
        return made if made.inputs[0].id == given.id else None
    if plain(made.name) != "log":
        return None
    statistic = _statistic(context, made.inputs[0], 1.0)
    if statistic is None or statistic[0].name != "sum" or statistic[1] != 1:
        return None
    raised = context.made_by(statistic[0].inputs[0].id)
    if raised is None or plain(raised.name) != "exp":
        return None
    return statistic[0] if raised.inputs[0].id == given.id else None


def is_tiny(call: FunctionCall) -> bool:
    """Whether a call adds, or allows at least, a number that changes no share."""
    numbers = numbers_of(call)
    name = plain(call.name)
    tiny = kind(name) == "sum" or "clamp" in name or "clip" in name
    return tiny and len(numbers) == 1 and 0 <= numbers[0] <= _TINY


def activation(context: CheckContext, call: FunctionCall) -> str:
    """Which function a call is: its name, or softmax, sigmoid … where it is the last of
    those that compute one."""
    if _is_sigmoid(context, call):
        return "sigmoid"
    found = normalises(context, call)
    return plain(call.name) if found is None or found.by is call else found.does


def _is_sigmoid(context: CheckContext, call: FunctionCall) -> bool:
    """`1 / (1 + exp(-x))`, or `exp(x) / (1 + exp(x))`."""
    below = call.inputs[-1:]
    more = context.made_by(below[0].id) if below else None
    if kind(call.name) not in ("scale", "pointwise") or more is None:
        return False
    if plain(more.name) != "add" or len(more.inputs) != 1 or 1 not in more.args:
        return False
    raised = context.made_by(more.inputs[0].id)
    if raised is None or plain(raised.name) != "exp":
        return False
    if plain(call.name) == "div" and len(call.inputs) == 2:
        above = context.made_by(call.inputs[0].id)
        if above is None or plain(above.name) != "exp":
            return False
        return above.inputs[0].id == raised.inputs[0].id
    turned = context.made_by(raised.inputs[0].id)
    return _is_inverse(call) and turned is not None and plain(turned.name) == "neg"


def _is_inverse(call: FunctionCall) -> bool:
    """Whether a call is 1 by its only tensor."""
    if plain(call.name) == "reciprocal":
        return True
    return call.qualname.endswith("__rdiv__") and call.args[1:] in ((1,), (1.0,))
