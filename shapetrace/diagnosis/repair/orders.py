"""Orders in which the dimensions of a shape could stand."""

from __future__ import annotations

from itertools import combinations, permutations

from shapetrace.diagnosis.repair.edits import Edit, permute, transpose

#: dimensions of which all orders are tried
_MOST = 6


def placements(shape: tuple[int, ...], other: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where the dimensions of a shape could stand among the more of another, sizes
    and order kept, other than at its end; those that take in the last come first."""
    rank, more = len(shape), len(other)
    found = [
        places
        for places in combinations(range(more), rank)
        if all(shape[i] == other[at] for i, at in enumerate(places))
        and places != tuple(range(more - rank, more))
    ]
    return sorted(found, key=lambda places: -places[-1]) if 1 < rank < more else []


def reorder(shape: tuple[int, ...], wanted: tuple[int, ...]) -> Edit | None:
    """The change that brings a shape into another order; where sizes repeat, the one
    that turns the fewest dimensions round: height stays before width."""
    rank = len(shape)
    if shape == wanted or sorted(shape) != sorted(wanted) or rank > _MOST:
        return None
    orders = [
        order
        for order in permutations(range(rank))
        if tuple(shape[dim] for dim in order) == wanted
    ]
    best = min(orders, key=_turned)
    swapped = [at for at, dim in enumerate(best) if at != dim]
    return transpose(*swapped) if len(swapped) == 2 else permute(*best)


def _turned(order: tuple[int, ...]) -> int:
    """How many pairs of dimensions stand the other way round."""
    return sum(a > b for at, a in enumerate(order) for b in order[at:])
