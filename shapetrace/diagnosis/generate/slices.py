"""A slice cut to another length: `table[:, :x.size(0)]` where `x.size(1)` was meant, a
patch of 128 rows and columns where 126 fit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import Hypothesis, Written
from shapetrace.diagnosis.repair.changes import recalled
from shapetrace.records import FunctionCall
from shapetrace.source.line import find


def slices(case: Case) -> Iterator[Hypothesis | None]:
    """Every slice as long as one side of the mismatch is, alone and with those of the
    same index that are as long."""
    wanted = {
        spot.size: {(spot.tensor, spot.dim)}
        for spot in case.mismatch.spots
        if spot.tensor is not None and spot.dim is not None
    }
    for call in own_calls(case):
        if call is case.call or call.name != "getitem" or len(call.args) < 2:
            continue
        index = call.args[1]
        parts = index if isinstance(index, tuple) else (index,)
        places: dict[int, list[int]] = {}
        for at, part in enumerate(parts):
            length = _length(part)
            if length > 0:
                places.setdefault(length, []).append(at)
        for length, found in places.items():
            for size, same in wanted.items():
                for at in found if size != length else ():
                    yield _cut_at(case, call, parts, [at], size, same)
                if len(found) > 1 and size != length:
                    yield _cut_at(case, call, parts, found, size, same)


def _length(part: object) -> int:
    """How many entries a slice asks for; 0 where that hangs on the tensor."""
    if not isinstance(part, slice) or type(part.stop) is not int or part.step:
        return 0
    start = part.start or 0
    return part.stop - start if type(start) is int and start >= 0 else 0


def _cut_at(
    case: Case,
    call: FunctionCall,
    parts: tuple[object, ...],
    places: list[int],
    size: int,
    same: set[tuple[int, int]],
) -> Hypothesis | None:
    first = parts[places[0]]
    assert isinstance(first, slice)
    length = _length(first)

    def cut(part: object) -> object:
        assert isinstance(part, slice)
        return slice(part.start, (part.start or 0) + size, part.step)

    index = tuple(cut(p) if at in places else p for at, p in enumerate(parts))

    def changed(one: FunctionCall) -> FunctionCall | None:
        return replace(one, args=(one.args[0], index)) if one.args[1:] else None

    def write() -> Written | None:
        line = find(call.source)
        tree = line.tree if line is not None else None
        if line is None or not isinstance(tree, ast.Subscript) or len(places) > 1:
            return None
        inner = tree.slice
        nodes = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        node = nodes[places[0]] if len(nodes) == len(parts) else None
        if not isinstance(node, ast.Slice) or node.upper is None or node.lower:
            return None
        written = isinstance(node.upper, ast.Constant)
        text = str(size) if written else case.spelled_size(call, size, same)
        return None if text is None else (line.with_part(node.upper, text), line.source)

    words = f"cuts it to {size} instead of {length}"
    reason = f"takes {'the first ' * (not first.start)}{length}"
    made = recalled(case, call, changed, write, words, "number", reason=reason)
    return made and replace(made, size=length, expected=size)
