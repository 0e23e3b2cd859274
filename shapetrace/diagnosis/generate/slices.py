"""A slice cut to another length: `table[:, :x.size(0)]` where `x.size(1)` was meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.changes import Written, recalled
from shapetrace.diagnosis.generate.arguments import own_calls
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.records import FunctionCall
from shapetrace.source.line import find


def slices(case: Case) -> Iterator[Hypothesis | None]:
    """Every slice from the front, as long as one side of the mismatch is."""
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
        for at, part in enumerate(parts):
            if not isinstance(part, slice) or type(part.stop) is not int:
                continue
            if part.start or part.step or part.stop < 1:
                continue
            for size, same in wanted.items():
                if size != part.stop:
                    yield _cut_at(case, call, parts, at, size, same)


def _cut_at(
    case: Case,
    call: FunctionCall,
    parts: tuple[object, ...],
    at: int,
    size: int,
    same: set[tuple[int, int]],
) -> Hypothesis | None:
    part = parts[at]
    assert isinstance(part, slice)
    index = (*parts[:at], slice(part.start, size, part.step), *parts[at + 1 :])

    def changed(one: FunctionCall) -> FunctionCall | None:
        return replace(one, args=(one.args[0], index)) if one.args[1:] else None

    def write() -> Written | None:
        line = find(call.source)
        tree = line.tree if line is not None else None
        if line is None or not isinstance(tree, ast.Subscript):
            return None
        inner = tree.slice
        nodes = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        node = nodes[at] if len(nodes) == len(parts) else None
        if not isinstance(node, ast.Slice) or node.upper is None:
            return None
        written = isinstance(node.upper, ast.Constant)
        text = str(size) if written else case.spelled_size(call, size, same)
        return None if text is None else (line.with_part(node.upper, text), line.source)

    words = f"cuts it to {size} instead of {part.stop}"
    reason = f"takes the first {part.stop}"
    made = recalled(case, call, changed, write, words, "number", reason=reason)
    return made and replace(made, size=part.stop, expected=size)
