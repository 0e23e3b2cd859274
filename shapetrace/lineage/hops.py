"""The parts of a way back, and how a factor of a size is followed through products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from shapetrace.records import FunctionCall, ModuleCall
from shapetrace.signatures import DimOrigin

Call: TypeAlias = FunctionCall | ModuleCall


@dataclass(frozen=True, slots=True)
class Hop:
    """One step back: `call` made dimension `dim` of `tensor` as `origin` says."""

    tensor: int
    dim: int
    call: Call
    origin: DimOrigin


@dataclass(frozen=True, slots=True)
class End:
    """Where a size begins.

    `kind`: "parameter" (dimension `dim` of a weight), "data" (a tensor from outside or
    made by a factory such as torch.randn), "argument" (a number in the code), "new"
    (a dimension of size 1 or a count), "values", "branch" (made of several, see
    `sources`) or "unknown". `call` is the call that begins it, if any.
    """

    kind: Literal["parameter", "data", "argument", "new", "values", "branch", "unknown"]
    tensor: int
    dim: int
    call: Call | None = None
    origin: DimOrigin | None = None
    sources: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Trail:
    """The way back of one dimension, newest first, and where it ends."""

    hops: tuple[Hop, ...]
    end: End

    @property
    def sure(self) -> bool:
        return all(hop.origin.sure for hop in self.hops)


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a dimension, in row-major order: `before` is the product of the
    factors in front of it."""

    before: int
    size: int


def split_off(
    call: Call,
    tensor: int,
    origins: Sequence[DimOrigin],
    dim: int,
    inner: Factor | None,
) -> Factor | None:
    """The factor that dimension `dim` of an output is of the dimension it was split
    from; of `inner`, where a factor of that output was followed already."""
    shape = next((r.shape for r in call.outputs or () if r.id == tensor), ())
    source = origins[dim].sources
    if len(shape) != len(origins) or len(source) != 1:
        return None
    before = prod(shape[at] for at in range(dim) if origins[at].sources == source)
    if inner is None:
        return Factor(before, shape[dim])
    return Factor(before * inner.before, inner.size)


def parts_of(
    factor: Factor, sizes: Sequence[int]
) -> tuple[int, int, Factor | None] | None:
    """Which of the sizes of a product make up a factor of it: the first and last
    position, and what part of that one it is, if of one only a part."""
    passed = 1
    for first, size in enumerate(sizes):
        if size == 1:
            continue
        if passed == factor.before:
            made, last = 1, first
            while last < len(sizes) and made < factor.size:
                made *= sizes[last]
                last += 1
            if made == factor.size:
                return first, last - 1, None
        inside = factor.before // passed
        if inside * passed == factor.before and size % (inside * factor.size) == 0:
            return first, first, Factor(inside, factor.size)
        passed *= size
    return None
