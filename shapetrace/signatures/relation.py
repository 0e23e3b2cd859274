"""What a signature says of one call: where each output dimension comes from, which
dimensions disagree, and what each input dimension is called. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

How = Literal[
    "same",  # the size of one input dimension, unchanged (several: they agree)
    "broadcast",  # one operand's size; another operand of size 1 (or absent) stretched
    "window",  # arithmetic over one input dimension: convolution, pooling, pad, fold
    "product",  # several input dimensions multiplied: flatten, view
    "split",  # a factor of one input dimension: unflatten, view
    "sum",  # added up: cat, hstack
    "slice",  # a part of one input dimension: indexing, narrow, chunk
    "repeat",  # a multiple of one input dimension: repeat, tile, interpolate
    "parameter",  # a dimension of a weight: out_features, embedding_dim
    "argument",  # a number among the call's arguments: view(-1, 33), one_hot, zeros
    "new",  # a fresh dimension of size 1 or count: unsqueeze, keepdim, stack
    "values",  # depends on values, not on shapes: nonzero, masked_select
    "guess",  # nothing is known: equal sizes only
]


@dataclass(frozen=True, slots=True)
class DimOrigin:
    """Where one dimension of one output comes from.

    `sources` are (position in `FunctionCall.inputs`, dimension) pairs, dimensions
    counted from 0; for "parameter" the weight's dimension; empty for "argument",
    "new", "values". `note` puts it in words for a reader, e.g. "out_features",
    "16·5·5", "(28 + 2·1 - 3) / 2 + 1", "num_classes=5".
    """

    how: How
    sources: tuple[tuple[int, int], ...] = ()
    note: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a conflict. `input` is the position in `FunctionCall.inputs`, or
    None when the number stands among the arguments. `dim` is None when the number is
    the count of elements or of dimensions. `size` is that number; `name` the role:
    "in_features", "batch", "classes"."""

    input: int | None
    dim: int | None
    size: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two numbers of one call that the signature wants equal, and are not.

    `kind`: "size" (two dimensions), "rank" (number of dimensions), "numel" (a view of
    another number of elements), "divisible" (`left` must be a multiple of `right`).
    `left` is the data's side, `right` the other's (the parameter's, the target's, the
    second operand's, the argument's). `name` is the dimension's name in the signature.
    """

    kind: Literal["size", "rank", "numel", "divisible"]
    name: str
    left: Side
    right: Side


@dataclass(frozen=True, slots=True)
class Relation:
    """`outputs[o][d]` is the origin of dimension d of output o (aligned with
    `FunctionCall.outputs`, or with the predicted outputs where the call raised).
    `roles` names input dimensions: (input position, dim) -> "in_features".
    `guessed` is True when the call had neither signature nor rule."""

    outputs: tuple[tuple[DimOrigin, ...], ...]
    roles: dict[tuple[int, int], str]
    guessed: bool = False
