"""What the dimensions of a program are made of where some of its calls are changed."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

from shapetrace.lineage.dimensions import Axes, Dims
from shapetrace.lineage.factors import Axis
from shapetrace.records import FunctionCall, TensorRef


class Made(NamedTuple):
    """What an edit makes of a tensor: a shape, and of which of the tensor's dimensions
    each one is; None where it deals the elements out anew."""

    shape: tuple[int, ...]
    dims: Sequence[tuple[int, ...]] | None


#: what is done to tensors before a call takes them, by their number
Edited = Mapping[int, Sequence[Made]]


class ChangedAxes(Axes):
    """The factors of every dimension, with calls that take or give other shapes than
    were recorded, told in their order."""

    def __init__(self, recorded: Axes) -> None:
        self._graph = recorded._graph
        self._relation = recorded._graph.related
        self._dims = ChainMap({}, recorded._dims)
        self._descent = ChainMap({}, recorded._descent)
        self.scrambles = []
        self.tears = []
        self._edits = 0

    def take(self, call: FunctionCall, edited: Edited) -> None:
        """A call as it is made now."""
        self._made(self.given(call, edited))

    def given(self, call: FunctionCall, edited: Edited) -> FunctionCall:
        """The call with its edited inputs as tensors of their own."""
        inputs = tuple(
            self._edited(ref, edited[ref.id]) if ref.id in edited else ref
            for ref in call.inputs
        )
        for ref in inputs:
            if ref.id not in self._dims:
                self._leaf(ref)
        return replace(call, inputs=inputs)

    def _is_told(self, ref: TensorRef) -> bool:
        return False  # what was recorded holds no longer

    def _edited(self, ref: TensorRef, edits: Sequence[Made]) -> TensorRef:
        dims = self._dims.get(ref.id, ())
        self._edits += 1
        new = replace(ref, id=-self._edits)  # recorded ones count from 0
        for made in edits:
            groups = made.dims or [()] * len(made.shape)
            dims = tuple(
                _put_together(dims, group, size, (new.id, at))
                for at, (group, size) in enumerate(zip(groups, made.shape))
            )
        self._dims[new.id] = dims
        self._descent[new.id] = self._descent.get(ref.id, 0)
        return new


def _put_together(
    dims: Dims, group: tuple[int, ...], size: int, own: tuple[int, int]
) -> tuple[Axis, ...]:
    """The factors of an edit's dimension, which it puts together of others; where it
    has another size, as a part or several times one, as a whole."""
    parts = [axis for at in group if at < len(dims) for axis in dims[at]]
    axes = tuple(axis for axis in parts if axis.size > 1)
    if axes and prod(axis.size for axis in axes) == size:
        return axes
    if len(group) == 1 and parts:
        roots = frozenset().union(*(axis.roots for axis in parts))
        return (Axis(size, roots, all(axis.sure for axis in parts)),)
    root = "made" if size == 1 else "unknown"
    return (Axis(size, frozenset(((root, *own),)), size == 1),)
