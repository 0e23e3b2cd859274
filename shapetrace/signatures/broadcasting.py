"""Broadcasting: shapes aligned from the right, ones stretched."""

from __future__ import annotations

from collections.abc import Sequence

from shapetrace.signatures.answer import Answer, Dim
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.relation import Conflict, DimOrigin, Side

#: an operand's dimensions: (input position, first dimension, sizes, name)
Part = tuple[int, int, tuple[int, ...], str]


def broadcast(answer: Answer, parts: Sequence[Part], fixed: bool = False) -> list[Dim]:
    """The broadcast dimensions; conflicts and stretches are added to `answer`.

    With `fixed` the first operand's sizes stand, as in an in-place operation.
    """
    if len(parts) == 1:
        pos, start, sizes, _ = parts[0]
        return [
            (DimOrigin("same", ((pos, start + i),)), size)
            for i, size in enumerate(sizes)
        ]
    rank = len(parts[0][2]) if fixed else max(len(part[2]) for part in parts)
    result: list[Dim] = []
    for place in range(rank):
        result.append(_column(answer, parts, rank, place, fixed))
    if fixed:
        for pos, _, sizes, name in parts[1:]:
            if len(sizes) > rank:
                first = Side(parts[0][0], None, rank, parts[0][3])
                other = Side(pos, None, len(sizes), name)
                answer.conflicts.append(Conflict("rank", "", first, other))
    return result


def _column(
    answer: Answer, parts: Sequence[Part], rank: int, place: int, fixed: bool
) -> Dim:
    """One dimension of the result."""
    size = 1
    known: list[tuple[int, int, int, str]] = []
    for pos, start, sizes, name in parts:
        at = place - rank + len(sizes)
        if at >= 0:
            known.append((pos, start + at, sizes[at], name))
            if size == 1:
                size = sizes[at]
    if fixed:
        size = parts[0][2][place]
    sources = []
    leader: tuple[int, int, int, str] | None = known[0] if fixed else None
    clash = False
    for entry in known:
        if entry[2] == size:
            sources.append((entry[0], entry[1]))
            leader = leader or entry
        elif entry[2] != 1:
            clash = True
    if clash and leader:
        for entry in known:
            if entry[2] != size and entry[2] != 1:
                left = Side(leader[0], leader[1], leader[2], leader[3])
                right = Side(entry[0], entry[1], entry[2], entry[3])
                if entry[0] < leader[0]:
                    left, right = right, left
                answer.conflicts.append(Conflict("size", "", left, right))
    if size == 1 or len(sources) == len(parts):
        return DimOrigin("same", tuple(sources)), size
    for pos, _, sizes, _ in parts:
        at = place - rank + len(sizes)
        if at < 0 or sizes[at] == 1:
            answer.stretched.append((pos, place, size))
    return DimOrigin("broadcast", tuple(sources)), size


def spread(b: Bound, operands: Sequence[Operand], fixed: bool = False) -> Answer:
    """The answer for an operation that broadcasts whole operands."""
    answer = Answer()
    parts = [(op.pos, 0, op.shape, _label(b, op)) for op in operands]
    out = broadcast(answer, parts, fixed)
    if answer.conflicts:
        # the last dimension is the one that torch's message names
        answer.conflicts.reverse()
    else:
        answer.outputs = [out]
    return answer


def _label(b: Bound, op: Operand) -> str:
    """The parameter's name, where it tells the reader something."""
    path = op.ref.path
    if path.startswith("kwargs['"):
        return path[8:-2]
    for name, place in b.index.items():
        if path == f"args[{place}]":
            return name
    return ""
