"""The factors that a dimension is made of, dealt out to the sizes that a view asks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

#: (kind, tensor, dimension); kind: data, parameter, unknown, made by the code, or
#: the states of a recurrent layer
Root = tuple[str, int, int]

#: for each size the factors that it has, as positions among them
Order = tuple[tuple[int, ...], ...]

#: counts that the code has made itself, as a cat of two parts
_COUNTED = ("states", "made")
#: more factors than this in one view are not searched for a permutation
_MOST = 6


class Axis(NamedTuple):
    """One factor of a dimension. `sure` is False where the way to it is a guess."""

    size: int
    roots: frozenset[Root]
    sure: bool = True


class Regrouped(NamedTuple):
    """The factors of each size; `order` is that of `factors`, where the sizes have them
    in another one: then every dimension may hold something of every factor. `torn`:
    a size falls across factors that no order brings together."""

    axes: list[tuple[Axis, ...]]
    factors: list[Axis]
    order: Order | None = None
    torn: bool = False


def regroup(group: list[Axis], sizes: list[int]) -> Regrouped:
    """What becomes of factors when a view asks for sizes of the same product."""
    if len(sizes) == 1:
        return Regrouped([tuple(group)], group)
    mixed = _mixed(group, sizes)
    if len(group) < 2:
        return Regrouped(mixed, group)
    order = _reordered(group, sizes)
    pieces = _cut(group, sizes)
    split = _parted(group, sizes) if order is None else None
    if split is not None and not _vague(*split):
        return Regrouped(mixed, *split)
    if order is not None and pieces is not None and _vague(group, order):
        order = None
    if all(axis.roots == group[0].roots for axis in group):
        order = None  # factors of one dimension, split anew
    if pieces is not None and _anchors(group, sizes, pieces):
        order = None
    if order is None and pieces is not None:
        return Regrouped(pieces, group)
    return Regrouped(mixed, group, order, torn=order is None)


def _mixed(group: list[Axis], sizes: list[int]) -> list[tuple[Axis, ...]]:
    """Every dimension may hold something of every factor."""
    roots = frozenset[Root]().union(*(axis.roots for axis in group))
    sure = group[0].sure and all(axis.roots == roots for axis in group)
    return [(Axis(size, roots, sure),) for size in sizes]


def _cut(group: list[Axis], sizes: list[int]) -> list[tuple[Axis, ...]] | None:
    """The factors dealt out in their order, split where a boundary divides one; None
    where a boundary falls across."""
    left = list(group)
    found = []
    for size in sizes:
        axes: list[Axis] = []
        while size > 1:
            axis = left.pop(0)
            if size % axis.size == 0:
                axes.append(axis)
                size //= axis.size
            elif axis.size % size == 0:
                axes.append(Axis(size, axis.roots, axis.sure))
                left.insert(0, Axis(axis.size // size, axis.roots, axis.sure))
                size = 1
            else:
                return None
        found.append(tuple(axes))
    return found


def nests(factors: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether sizes can be cut out of factors in their order.

    >>> nests((4, 8), (8, 4)), nests((3, 8), (8, 3))
    (True, False)
    """
    group = [Axis(size, frozenset()) for size in factors if size > 1]
    return _cut(group, list(sizes)) is not None


def _reordered(group: list[Axis], sizes: list[int]) -> Order | None:
    """How `sizes` are the factors of the group in another order, merged or not; None
    where they are not."""
    if len(group) > _MOST or len(sizes) > len(group):
        return None
    order = _deal([axis.size for axis in group], sizes, tuple(range(len(group))))
    if order is None:
        return None
    flat = [i for part in order for i in part]
    return None if flat == sorted(flat) else order


def _parted(group: list[Axis], sizes: list[int]) -> tuple[list[Axis], Order] | None:
    """The same where a layer's features, last, are split in two as well and only the
    first part has changed places, with the whole dimension before it: heads."""
    last, tail = group[-1], sizes[-1]
    if tail < 2 or tail >= last.size or last.size % tail:
        return None
    if any(kind != "parameter" for kind, _, _ in last.roots):
        return None
    cuts = [Axis(size, last.roots, last.sure) for size in (last.size // tail, tail)]
    group = [*group[:-1], *cuts]
    order = _reordered(group, sizes)
    if order is None:
        return None
    count = len(group)
    moved = [i for part in order for i in part if i != count - 2]
    stays = moved == sorted(moved) and (count - 3,) in order
    return (group, order) if stays and order[-1] == (count - 1,) else None


def _vague(group: list[Axis], order: Order) -> bool:
    """Whether a factor of 2 is among those that change places: it fits nearly
    anywhere, but for the layers and directions of a recurrent layer's states, and for
    parts that were joined."""
    flat = [i for part in order for i in part]
    for place, i in enumerate(flat):
        for j in flat[place + 1 :]:
            for factor in (group[i], group[j]):
                if j < i and factor.size == 2:
                    if any(kind not in _COUNTED for kind, _, _ in factor.roots):
                        return True
    return False


def _anchors(
    group: list[Axis], sizes: list[int], pieces: list[tuple[Axis, ...]]
) -> bool:
    """Whether only a layer's features, last in their order, are split: into anchors
    and what is predicted for each, behind the places of a map. As many sizes as
    factors, each the size of one, are a permutation all the same."""
    if sorted(sizes) == sorted(axis.size for axis in group):
        return False
    if any(kind != "parameter" for kind, _, _ in group[-1].roots):
        return False
    whole = [axis for axes in pieces for axis in axes][: len(group) - 1]
    return whole == group[:-1]


def _deal(
    factors: list[int], sizes: Sequence[int], free: tuple[int, ...]
) -> Order | None:
    """Factors for each size, each used once."""
    if not sizes:
        return () if not free else None
    for part in _parts(factors, sizes[0], free):
        rest = tuple(i for i in free if i not in part)
        found = _deal(factors, sizes[1:], rest)
        if found is not None:
            return (part, *found)
    return None


def _parts(
    factors: list[int], size: int, free: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """The subsets of `free` whose product is `size`, smallest first."""
    found: list[tuple[int, ...]] = []
    for bits in range(1, 1 << len(free)):
        part = tuple(i for place, i in enumerate(free) if bits >> place & 1)
        if prod(factors[i] for i in part) == size:
            found.append(part)
    return sorted(found, key=len)
