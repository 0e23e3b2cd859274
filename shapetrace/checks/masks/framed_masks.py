"""Masks of ones where there is data: they were padded with zeros as the data was."""

from __future__ import annotations

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.indices import is_plain
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind

#: of each dimension that is padded: its size, and what stands before and behind it
Frame = tuple[tuple[int, int, int], ...]
#: the calls that may pad
PADS = ("pad", "unfold", "setitem")
#: what a mask of a constant may go through before it is padded
_KEEPS = ("view", "unit", "expand", "copy", "cast", "transpose", "repeat")
#: calls between a constant and its padding; rows that are written one by one
_NEAR, _ROWS = 8, 512


def framed(context: CheckContext, call: FunctionCall) -> bool | None:
    """Whether ones stand for data in what pads a constant with another one, by zeros
    written around ones; None where it does something else, or no data is padded by as
    much on the same sides."""
    frame = _frame(call)
    inner, outer = _inner(context, call), _outer(context, call)
    if not frame or {inner, outer} != {0, 1}:
        return None
    same = (
        other
        for other in context.calls(*PADS)
        if other.index != call.index and _frame(other) == frame
    )
    if any(_is_data(context, other) for other in same):
        return inner == 1
    return None


def _frame(call: FunctionCall) -> Frame:
    """By how much a call pads, () where it does not."""
    if not call.inputs:
        return ()
    shape, name = call.inputs[0].shape, plain(call.name)
    if name == "pad" and argument(call, "mode", 2) in (None, "constant"):
        sizes = argument(call, "pad", 1)
        given = list(sizes) if isinstance(sizes, (tuple, list)) else []
        pairs = zip(given[::2], given[1::2], strict=True)
        # the last dimension is told first
        sides = [(n, *pair) for n, pair in zip(shape[::-1], pairs, strict=False)]
        return tuple(one for one in sides[::-1] if any(one[1:]))
    if name == "unfold" and isinstance(call.kwargs.get("padding"), (int, tuple)):
        padding = call.kwargs["padding"]
        both = (padding, padding) if isinstance(padding, int) else padding
        sides = [(n, pad, pad) for n, pad in zip(shape[-2:], both, strict=False)]
        return tuple(one for one in sides if one[1])
    return _written(call) if name == "setitem" else ()


def _written(call: FunctionCall) -> Frame:
    """What an index of plain numbers and slices leaves around what is written."""
    shape = call.inputs[0].shape
    index = argument(call, "indices", 1)
    items = list(index) if isinstance(index, tuple) else [index]
    if items.count(Ellipsis) == 1:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    sides = []
    for size, item in zip(shape, items, strict=False):
        if type(item) is int:
            start, stop, step = item % size, item % size + 1, 1
        elif isinstance(item, slice) and is_plain(item):
            start, stop, step = item.indices(size)
        else:
            return ()
        if step != 1 or stop <= start:
            return ()
        sides.append((stop - start, start, size - stop))
    return tuple(one for one in sides if any(one[1:]))


def _inner(context: CheckContext, call: FunctionCall) -> object:
    """The constant that is padded."""
    if plain(call.name) != "setitem":
        return _constant(context, call.inputs[0])
    return _number(argument(call, "value", 2)) if len(call.inputs) == 1 else None


def _outer(context: CheckContext, call: FunctionCall) -> object:
    """The constant that it is padded with."""
    if plain(call.name) == "pad":
        return _number(argument(call, "value", 3) or 0)
    if plain(call.name) == "unfold":
        return 0
    made = context.made_by(call.inputs[0].id)
    for _ in range(_ROWS):  # row by row
        if made is None or plain(made.name) != "setitem":
            break
        made = context.made_by(made.inputs[0].id)
    return None if made is None else _filled(made)


def _constant(context: CheckContext, ref: TensorRef) -> object:
    """The one number that a tensor holds; None where that is not known."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or kind(made.name) == "fill":
            return None if made is None else _filled(made)
        if kind(made.name) not in _KEEPS or not made.inputs:
            return None
        ref = made.inputs[0]
    return None


def _filled(made: FunctionCall) -> object:
    name = plain(made.name).removeprefix("new_").removesuffix("_like")
    if name == "full":
        place = 2 if made.name == "new_full" else 1
        return _number(argument(made, "fill_value", place))
    return {"ones": 1, "zeros": 0}.get(name)


def _number(value: object) -> object:
    return value if isinstance(value, (bool, int, float)) else None


def _is_data(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a call pads what the data is made of, and nothing is written around it
    afterwards: a start token, say."""
    name = plain(call.name)
    if name == "setitem" and len(call.inputs) < 2:
        return False
    given = call.inputs[1] if name == "setitem" else call.inputs[0]
    if _constant(context, given) is not None:
        return False
    users = [user for ref in call.outputs or () for user, _ in context.follow(ref.id)]
    numbers = (plain(u.name) == "setitem" and len(u.inputs) == 1 for u in users)
    return not any(numbers)
