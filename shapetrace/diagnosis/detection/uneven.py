"""Calls of which sizes do not go in evenly, or go together by chance."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from shapetrace.diagnosis.detection.expected import sizes_asked
from shapetrace.records import FunctionCall
from shapetrace.signatures import broadcasts

Shape = tuple[int, ...]


def cut_with_a_rest(call: FunctionCall) -> tuple[int, int] | None:
    """The size that a view cuts into parts, and the part: 14 and 12 of a view of
    (…, 14) as (…, 1, 12), since 14 // 12 is 1. None where nothing is left over.

    >>> _cut((2, 14), (2, 1, 12)), _cut((2, 12), (2, 1, 12)), _cut((2, 9), (2, 7))
    ((14, 12), None, None)
    """
    if not call.inputs or call.name not in ("view", "reshape", "unflatten"):
        return None
    asked = sizes_asked(call)
    if not asked or min(asked) < 1:
        return None
    return _cut(call.inputs[0].shape, asked)


def _cut(shape: Sequence[int], asked: Sequence[int]) -> tuple[int, int] | None:
    left = list(asked)
    found = None
    for size in shape:
        taken = _taken(size, left)
        if taken is None:
            return None
        parts, left = left[:taken], left[taken:]
        if prod(parts) != size:
            found = found or (size, max(part for part in parts if size % part))
    return found if not left else None


def _taken(size: int, asked: Sequence[int]) -> int | None:
    """How many of the sizes that a view asks for a dimension is cut into: all of it, or
    all but what `//` leaves over."""
    for taken in range(1, len(asked) + 1):
        if prod(asked[:taken]) == size:
            return taken
    if len(asked) > 1:
        first, second = asked[:2]
        if size // second == first or size // first == second:
            return 2
    return None


def makes_a_square(call: FunctionCall) -> tuple[Shape, Shape] | None:
    """The shapes of a column and a row of one length, which a call stretches both into
    a square: (30, 1) + (30,) is (30, 30)."""
    if len(call.inputs) != 2 or len({at for at, _, _ in broadcasts(call)}) < 2:
        return None
    short, long = sorted((ref.shape for ref in call.inputs), key=len)
    if len(short) == len(long) or not short or short[-1] < 2:
        return None
    return (long, short) if long[-2:] == (short[-1], 1) else None
