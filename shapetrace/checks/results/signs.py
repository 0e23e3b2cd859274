"""Tensors without a number below 0, told by what made them."""

from __future__ import annotations

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall
from shapetrace.signatures import kind

#: functions whose results are never negative
_NEVER = (
    "relu",
    "relu6",
    "softplus",
    "hardsigmoid",
    "exp",
    "abs",
    "absolute",
    "square",
)
_NEVER_KINDS = ("sigmoid", "softmax")
#: what makes nothing negative of what is not: of one tensor, and of all
_OF_ONE = (
    *("view", "unit", "transpose", "expand", "copy", "cast", "detach", "pick"),
    *("repeat", "flip", "window", "pool", "dropout", "total", "choose"),
)
_OF_ALL = ("join", "add", "mul", "multiply", "maximum", "lerp")
#: calls that are looked at
_MOST = 400


def is_never_negative(context: CheckContext, tensor: int) -> bool:
    """Whether no number of a tensor is below 0, for all that is seen."""
    todo, seen = [tensor], {tensor}
    while todo:
        call = context.made_by(todo.pop())
        if call is None or len(seen) > _MOST:
            return False
        name = plain(call.name)
        if name in _NEVER or kind(name) in _NEVER_KINDS:
            continue
        given = _behind(call)
        if not given:
            return False
        todo += [one for one in given if one not in seen]
        seen.update(given)
    return True


def _behind(call: FunctionCall) -> list[int]:
    """The tensors that have to be free of negative numbers for a result to be."""
    name = plain(call.name)
    if name in _OF_ALL or kind(name) in _OF_ALL:
        return [ref.id for ref in call.inputs] if len(call.inputs) > 1 else []
    if kind(name) in _OF_ONE or name == "mean":
        return [ref.id for ref in call.inputs[:1]]
    return []
