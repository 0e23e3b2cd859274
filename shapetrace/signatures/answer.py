"""What a rule answers about one call, before it is held against what was recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from shapetrace.signatures.relation import Conflict, DimOrigin, How, Side

#: an output dimension: where it comes from, and its size (None: not known)
Dim = tuple[DimOrigin, int | None]


class Unknown(Exception):
    """A rule has too little to go on; the caller falls back to probe and guess."""


class NoSuchDim(Unknown):
    """A `dim` that a tensor of `rank` dimensions does not have: the call raises."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__(dim, rank)
        self.dim, self.rank = dim, rank


@dataclass(slots=True)
class Answer:
    """All four uses of a rule at once: origins, roles, conflicts, stretches.

    `outputs` holds a tuple of dimensions for each output; empty when conflicts leave
    no output. `stretched` are (input position, result dimension, size) triples.
    """

    outputs: list[list[Dim]] = field(default_factory=list)
    roles: dict[tuple[int, int], str] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    stretched: list[tuple[int, int, int]] = field(default_factory=list)


def same(pos: int, dim: int, size: int) -> Dim:
    """A dimension that is passed on unchanged."""
    return DimOrigin("same", ((pos, dim),)), size


def all_same(pos: int, shape: tuple[int, ...]) -> list[Dim]:
    """Every dimension passed on unchanged."""
    return [(DimOrigin("same", ((pos, d),)), s) for d, s in enumerate(shape)]


def made(how: How, size: int | None, note: str = "") -> Dim:
    """A dimension with no input dimension behind it."""
    return DimOrigin(how, (), note), size


def of(how: How, pos: int, dim: int, size: int | None, note: str = "") -> Dim:
    """A dimension computed from one input dimension."""
    return DimOrigin(how, ((pos, dim),), note), size


def joined(
    how: How, sources: Iterable[tuple[int, int]], size: int | None, note: str = ""
) -> Dim:
    """A dimension computed from several input dimensions."""
    return DimOrigin(how, tuple(sources), note), size


def product(pos: int, dims: list[int], shape: tuple[int, ...]) -> Dim:
    """Several dimensions of one input multiplied; one alone is passed on."""
    if len(dims) == 1:
        return same(pos, dims[0], shape[dims[0]])
    note = "·".join(str(shape[d]) for d in dims)
    size = prod(shape[d] for d in dims)
    return joined("product", [(pos, d) for d in dims], size, note)


def wrap(dim: int, rank: int, *, scalar: bool = True) -> int:
    """The dimension counted from 0; a scalar has one virtual dimension, but for those
    functions that take none.

    Raises NoSuchDim when it is out of range: the call itself then raised.
    """
    span = max(rank, 1 if scalar else 0)
    if not -span <= dim < span:
        raise NoSuchDim(dim, rank)
    return dim % span


def rank_conflict(
    name: str, pos: int | None, rank: int, expected: int, text: str = ""
) -> Conflict:
    """An input of `rank` dimensions where `expected` are wanted."""
    wanted = Side(None, None, expected, text or f"{expected}-D")
    return Conflict("rank", name, Side(pos, None, rank, name), wanted)


def out_of_range(name: str, pos: int, dim: int, rank: int) -> Conflict:
    """A `dim` argument that the input does not have."""
    least = dim + 1 if dim >= 0 else -dim
    return rank_conflict(name, pos, rank, least, f"dim={dim}")
