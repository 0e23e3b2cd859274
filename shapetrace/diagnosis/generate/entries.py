"""One entry picked from another dimension: `x[:, 2]` where `x[..., 2]` was meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Repair, Written
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.records import FunctionCall
from shapetrace.source.line import find

_ALL = slice(None)


def entries(case: Case) -> Iterator[Hypothesis | None]:
    """Every entry picked by its number, picked from each other dimension, wherever the
    statement has that index."""
    for call in own_calls(case):
        at = _picks(call)
        if at is None:
            continue
        entry, shape = call.args[1][at], call.inputs[0].shape
        alike = _alike(case, call)
        for dim, size in enumerate(shape):
            if dim == at or not -size <= entry < size:
                continue
            index = (..., entry) if dim == len(shape) - 1 else (*(_ALL,) * dim, entry)
            repair = Repair(
                calls={
                    one.index: replace(one, args=(one.args[0], index)) for one in alike
                }
            )
            outcome = case.replay.start(repair)
            if outcome is None:
                continue
            line, where = _written(call, dim, len(shape), entry)
            yield Hypothesis(
                "dim",
                site_of_call(case.graph, call),
                repair,
                case.hops(call.outputs[0].id) if call.outputs else 0,
                line,
                where,
                f"picks from dim {dim} instead of {at}",
                reason=f"picks an entry of dim {at} of {shape}",
                outcome=outcome,
            )


def _picks(call: FunctionCall) -> int | None:
    """The dimension that one entry is picked from, all of those before being taken."""
    index = call.args[1] if call.name == "getitem" and len(call.args) > 1 else None
    if not isinstance(index, tuple) or type(index[-1]) is not int:
        return None
    whole = all(part == _ALL for part in index[:-1])
    return len(index) - 1 if whole else None


def _alike(case: Case, call: FunctionCall) -> list[FunctionCall]:
    """The calls of a statement with the same index, and a tensor of as many
    dimensions."""
    line, rank = find(call.source), len(call.inputs[0].shape)
    found = []
    for one in case.graph.rec.functions if line is not None else ():
        if one.name != "getitem" or one.args[1:] != call.args[1:]:
            continue
        other = find(one.source) if len(one.inputs[0].shape) == rank else None
        if other is None or line is None or other.file is not line.file:
            continue
        if line.file.statement(other.node) is line.file.statement(line.node):
            found.append(one)
    return found or [call]


def _written(call: FunctionCall, dim: int, rank: int, entry: int) -> Written:
    """The statement with that index written for another dimension throughout."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Subscript):
        return UNWRITTEN
    text = line.text(line.tree.slice)
    new = f"..., {entry}" if dim == rank - 1 else ":, " * dim + str(entry)
    places = [
        node.slice
        for node in ast.walk(line.file.statement(line.node))
        if isinstance(node, ast.Subscript) and line.text(node.slice) == text
    ]
    return line.with_parts([(place, new) for place in places]), line.source
