"""What two sides that disagree are made of, factor by factor, and who made the factors
that are unlike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from shapetrace.diagnosis.detection.expected import sizes_asked
from shapetrace.diagnosis.detection.mismatch import Mismatch, Spot
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.sizes.leaves import Leaf, leaves, makers
from shapetrace.lineage import Graph


class Factors(NamedTuple):
    """The factors of one side: those that the other side has not, and those it has."""

    odd: tuple[Leaf, ...]
    shared: tuple[Leaf, ...]
    target: bool = False

    def makers(self, graph: Graph, fits: int | None) -> list[Hypothesis]:
        """Who made what is odd; where nothing is, who made the size as a whole."""
        found = self.odd or self.shared
        alone = fits if len(self.odd) + len(self.shared) == 1 else None
        return self._of(graph, found, alone)

    def sharers(self, graph: Graph) -> list[Hypothesis]:
        """Who made what the other side has too."""
        return self._of(graph, self.shared, None)

    def _of(
        self, graph: Graph, found: tuple[Leaf, ...], fits: int | None
    ) -> list[Hypothesis]:
        return [
            one
            for leaf in found
            for one in makers(graph, leaf, fits, target=self.target)
        ]


def factors(graph: Graph, mismatch: Mismatch) -> tuple[Factors, Factors]:
    """Of both sides. 12 = 4·3 against 8 = 4·2 have their 4 in common."""
    spots = (mismatch.left, mismatch.right)
    whole = mismatch.kind == "numel"
    left, right = (
        _of(graph, spot, whole) if spot is not None else () for spot in spots
    )
    if whole:
        others = [_Sized(size) for size in sizes_asked(mismatch.call) if size > 0]
    elif mismatch.right is not None and mismatch.right.tensor is None:
        others = [_Sized(mismatch.right.size)]
    else:
        others = [_sized(leaf) for leaf in right]
    pairs = []
    if len(left) > 1 or len(others) > 1:
        pairs = _pairs([_sized(leaf) for leaf in left], others)
    first, second = (
        Factors(
            tuple(one for at, one in enumerate(own) if at not in same),
            tuple(one for at, one in enumerate(own) if at in same),
        )
        for own, same in (
            (left, {a for a, _ in pairs}),
            (right, {b for _, b in pairs}),
        )
    )
    return first, second


class _Sized(NamedTuple):
    """A factor by its size, the dimension that it begins in and what that is of: none
    for a number."""

    size: int
    begins: tuple[int, int] | None = None
    kind: str = ""


def _sized(leaf: Leaf) -> _Sized:
    return _Sized(leaf.size, (leaf.end.tensor, leaf.end.dim), leaf.end.kind)


def _of(graph: Graph, spot: Spot, whole: bool) -> tuple[Leaf, ...]:
    """The factors of a side; of a whole tensor only where its elements are counted."""
    if spot.tensor is None or graph.is_parameter(spot.tensor):
        return ()
    rank = len(graph.tensors[spot.tensor].shape)
    dims = [spot.dim] if spot.dim is not None else range(rank if whole else 0)
    return tuple(leaf for dim in dims for leaf in leaves(graph, spot.tensor, dim))


def _pairs(left: list[_Sized], right: list[_Sized]) -> list[tuple[int, int]]:
    """Factors of the same size: those that begin in the same dimension first, then
    those that both begin in data, or both in layers: 4 heads are no 4 samples."""
    found: list[tuple[int, int]] = []
    alike: tuple[Callable[[_Sized], object], ...] = (
        lambda one: one.begins,
        lambda one: one.kind,
        lambda one: None,
    )
    for key in alike:
        for a, one in enumerate(left):
            for b, other in enumerate(right):
                if any(a == x or b == y for x, y in found) or one.size != other.size:
                    continue
                if key(one) == key(other):
                    found.append((a, b))
    return found
