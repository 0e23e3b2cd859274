"""What brings two operands to one shape that PyTorch stretched to each other, in lines
that hold for a batch of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shapetrace.diagnosis.repair.edits import Edit, spread
from shapetrace.diagnosis.repair.stepwise import stepwise


def to_one_shape(
    shape: tuple[int, ...], other: tuple[int, ...], data: bool = False
) -> Iterator[Edit]:
    """The edits of a tensor after which it stretches and is stretched no more. Maps of
    `data` get the channel that they lack by an index, as such code is written."""
    if len(shape) > len(other):
        ones = _ones(shape, other)
        start = ones[0] - 1 if ones else 0
        edit = stepwise(*[("squeeze", dim) for dim in reversed(ones)], words=_DROPS)
        if len(ones) > 1 and start > 0 and ones == [*range(ones[0], len(shape))]:
            edit = stepwise(("flatten", start), words=_DROPS)
        if ones:
            yield replace(edit, removes=ones[0])
    elif len(shape) < len(other):
        ones = _ones(other, shape)
        edit = stepwise(*[("unsqueeze", dim) for dim in ones], words=_ADDS)
        if data and len(ones) == 1 and len(shape) > 2:
            places = tuple([dim for dim in range(len(other)) if dim not in ones])
            yield replace(spread(places, len(other)), steps=edit.steps)
        elif ones:
            yield edit
        for dim in range(1, len(other)):
            whole = (*shape[:dim], 1, *shape[dim:])
            if not ones and _fits(whole, other):
                yield stepwise(("unsqueeze", dim), words=_ADDS)


_DROPS = "drops the dimensions of size 1"
_ADDS = "adds dimensions of size 1"


def _ones(more: tuple[int, ...], fewer: tuple[int, ...]) -> list[int]:
    """The dimensions of 1 without which the one shape is the other; none where they
    differ in more than that.

    >>> _ones((6, 3, 1, 1), (6, 3)), _ones((6, 1), (1, 6))
    ([2, 3], [])
    """
    found: list[int] = []
    for dim, size in enumerate(more):
        at = dim - len(found)
        if at >= len(fewer) or fewer[at] != size:
            found.append(dim)
    return found if _left(more, found) == fewer else []


def _fits(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes go together, of as many dimensions."""
    return len(shape) == len(other) and all(
        a == b or 1 in (a, b) for a, b in zip(shape, other)
    )


def _left(shape: tuple[int, ...], ones: Sequence[int]) -> tuple[int, ...] | None:
    """A shape without some dimensions; None where one of those is not 1."""
    if any(shape[dim] != 1 for dim in ones):
        return None
    return tuple(size for dim, size in enumerate(shape) if dim not in ones)
