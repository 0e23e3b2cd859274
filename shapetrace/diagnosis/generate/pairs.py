"""An index that picks its columns of every row, where one of each row is wanted:
`q[:, actions]` for `q[torch.arange(len(actions)), actions]`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.hypothesis import Hypothesis, Written
from shapetrace.diagnosis.repair.changes import method, recalled
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import find

_INDICES = (torch.int64, torch.int32)


def pairs(case: Case) -> Iterator[Hypothesis | None]:
    for call in own_calls(case):
        index = _of_every_row(call) if call.name == "getitem" else None
        if index is not None:
            yield recalled(
                case,
                call,
                _one_of_each,
                partial(_written, call),
                "one of each row, in the order of the index",
                "exchange",
                reason=f"takes {index.shape[0]} columns of each of as many rows",
            )


def _of_every_row(call: FunctionCall) -> TensorRef | None:
    """The index of a call `x[:, index]` with as many entries as there are rows."""
    parts = call.args[1] if len(call.args) > 1 else None
    if not isinstance(parts, tuple) or len(parts) != 2 or not call.inputs:
        return None
    rows, index = parts
    if not isinstance(index, TensorRef) or index.dtype not in _INDICES:
        return None
    same = index.shape == call.inputs[0].shape[:1]
    return index if same and rows == slice(None) else None


def _one_of_each(call: FunctionCall) -> FunctionCall | None:
    # whichever it is of each row, the shape is that of the first of all
    return None if _of_every_row(call) is None else method(call, "select", 1, 0)


def _written(call: FunctionCall) -> Written | None:
    line = find(call.source)
    tree = line.tree if line is not None else None
    if line is None or not isinstance(tree, ast.Subscript):
        return None
    if not isinstance(tree.slice, ast.Tuple) or len(tree.slice.elts) != 2:
        return None
    rows, index = tree.slice.elts
    text = line.spelled(f"torch.arange(len({line.text(index)}))")
    return line.with_part(rows, text), line.source
