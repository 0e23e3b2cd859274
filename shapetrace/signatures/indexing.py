"""Indexing by brackets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    made,
    of,
    rank_conflict,
    same,
)
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import Part, broadcast
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side

_MASKS = (torch.bool, torch.uint8)


@dataclass(slots=True)
class _Walk:
    """The state of one pass over the items of an index."""

    answer: Answer
    dims: list[Dim] = field(default_factory=list)
    #: index tensors and lists; None stands for a mask
    parts: list[Part | None] = field(default_factory=list)
    #: where in `dims` the first one stood, and whether others stood apart from it
    place: int = -1
    last: int = -1
    apart: bool = False


def _tensor_like(item: Any) -> tuple[int, ...] | None:
    """The shape of a nested list of numbers, as an index; None for anything else."""
    if isinstance(item, (int, bool)):
        return ()
    if isinstance(item, (list, tuple)):
        inner = {_tensor_like(part) for part in item}
        if len(inner) > 1 or None in inner:
            return None
        return (len(item), *(inner.pop() or () if inner else ()))
    return None


def _is_mask(item: Any) -> bool:
    while isinstance(item, (list, tuple)) and item:
        item = item[0]
    return isinstance(item, bool)


def _consumed(b: Bound, item: Any) -> int:
    """How many dimensions of the tensor an item uses up."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if isinstance(item, TensorRef):
        return len(b.operand(item).shape) if item.dtype in _MASKS else 1
    if isinstance(item, (list, tuple)) and _is_mask(item):
        return len(_tensor_like(item) or ())
    return 1


def _index(b: Bound, answer: Answer, op: Operand, index: Any) -> list[Dim]:
    """The dimensions of `op[index]`; conflicts are added to `answer`."""
    items: list[Any] = list(index) if isinstance(index, tuple) else [index]
    used = sum(_consumed(b, item) for item in items)
    rank = len(op.shape)
    if used > rank:
        answer.conflicts.append(
            rank_conflict("input", op.pos, rank, used, f"{used} indices")
        )
        return []
    if not any(item is Ellipsis for item in items):
        items.append(Ellipsis)
    walk = _Walk(answer)
    at = 0
    for item in items:
        if item is Ellipsis:
            for d in range(at, at + rank - used):
                walk.dims.append(same(op.pos, d, op.shape[d]))
            at += rank - used
        else:
            at = _item(b, walk, op, item, at)
    if walk.place < 0:
        return walk.dims
    where = 0 if walk.apart else walk.place
    walk.dims[where:where] = _joined(walk)
    return walk.dims


def _item(b: Bound, walk: _Walk, op: Operand, item: Any, at: int) -> int:
    """One item of an index; gives the next dimension of the tensor."""
    if item is None:
        walk.dims.append(made("new", 1, "None"))
        return at
    if isinstance(item, bool):
        _advanced(walk, None)
        return at
    if isinstance(item, int):
        placed(walk.answer, op, at, item)
        return at + 1
    if isinstance(item, slice):
        walk.dims.append(_sliced(op, at, item))
        return at + 1
    if isinstance(item, TensorRef):
        inner = b.operand(item)
        if item.dtype in _MASKS:
            for d, size in enumerate(inner.shape):
                if size != op.shape[at + d]:
                    left = Side(op.pos, at + d, op.shape[at + d])
                    right = Side(inner.pos, d, size, "mask")
                    walk.answer.conflicts.append(Conflict("size", "mask", left, right))
            _advanced(walk, None)
            return at + len(inner.shape)
        if inner.shape:
            _advanced(walk, (inner.pos, 0, inner.shape, "index"))
        return at + 1
    shape = _tensor_like(item)
    if shape is None:
        raise Unknown
    if _is_mask(item):
        _advanced(walk, None)
        return at + len(shape)
    _advanced(walk, (-1, 0, shape, "index"))
    return at + 1


def placed(answer: Answer, op: Operand, dim: int, index: int) -> None:
    """A dimension has to be as long as an index asks for."""
    size = op.shape[dim]
    if not -size <= index < size:
        left = Side(op.pos, dim, size)
        least = index + 1 if index >= 0 else -index
        right = Side(None, None, least, f"index {index}")
        answer.conflicts.append(Conflict("size", "index", left, right))


def _sliced(op: Operand, at: int, item: slice) -> Dim:
    """A slice of one dimension; whole, it is that dimension."""
    size = op.shape[at]
    bounds = (item.start, item.stop, item.step)
    text = ":".join(
        "" if bound is None else str(bound) if isinstance(bound, int) else "?"
        for bound in (bounds if item.step is not None else bounds[:2])
    )
    if any(not isinstance(bound, (int, type(None))) for bound in bounds):
        return of("slice", op.pos, at, None, text)
    taken = range(size)[item]
    if len(taken) == size and bounds[:1] in ((None,), (0,)) and bounds[1] is None:
        return same(op.pos, at, size)
    return of("slice", op.pos, at, len(taken), f"{text} of {size}")


def _advanced(walk: _Walk, part: Part | None) -> None:
    """Notes an index tensor and where it stands among the dimensions."""
    here = len(walk.dims)
    if walk.place < 0:
        walk.place = here
    elif here != walk.last:
        walk.apart = True
    walk.last = here
    walk.parts.append(part)


def _joined(walk: _Walk) -> list[Dim]:
    """The dimensions that all index tensors together give."""
    parts = [part for part in walk.parts if part is not None]
    if len(parts) < len(walk.parts):
        if any(len(part[2]) > 1 for part in parts):
            raise Unknown
        return [made("values", None, "mask")]
    scratch = Answer()
    dims = broadcast(scratch, parts)
    for conflict in scratch.conflicts:
        walk.answer.conflicts.append(
            Conflict("size", "index", conflict.left, conflict.right)
        )
    return [_listed(dim) for dim in dims]


def _listed(dim: Dim) -> Dim:
    """A dimension that a list among the arguments gave has no tensor behind it."""
    origin, size = dim
    if any(pos < 0 for pos, _ in origin.sources):
        return made("argument", size, f"{size} indices")
    return dim


@rule("getitem index", "input index")
def getitem(b: Bound) -> Answer:
    """`x[...]` in full."""
    answer = Answer()
    dims = _index(b, answer, b.first(), b.call.args[1])
    if not answer.conflicts:
        answer.outputs = [dims]
    return answer


@rule("setitem", "input index value")
def setitem(b: Bound) -> Answer:
    """`x[...] = value`: the value must broadcast to what is indexed."""
    op = b.first()
    answer = Answer()
    dims = _index(b, answer, op, b.call.args[1])
    value = b.tensor("value")
    if value is not None and not answer.conflicts:
        rank = len(value.shape)
        lead = rank - len(dims)
        for d, size in enumerate(value.shape):
            at = d - lead
            origin, wanted = dims[at] if at >= 0 else (None, 1)
            if size == 1 and wanted not in (None, 1):
                answer.stretched.append((value.pos, at, wanted))
            if size == 1 or wanted in (None, size):
                continue
            pos, dim = origin.sources[0] if origin and origin.sources else (None, None)
            left = Side(pos, dim, wanted or 0)
            right = Side(value.pos, d, size, "value")
            answer.conflicts.append(Conflict("size", "value", left, right))
        for at in range(-lead):
            wanted = dims[at][1]
            if wanted not in (None, 1):
                answer.stretched.append((value.pos, at, wanted))
    if not answer.conflicts:
        answer.outputs = [all_same(op.pos, op.shape)]
    return answer
