"""Proposals for a `cat` along the wrong dimension."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.expected import waiting
from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import find

Found = Iterator[Candidate | None]
JOINS = ("cat", "concat", "concatenate")


def blamed_join(desk: Desk, ref: TensorRef) -> Found:
    """The `cat` that is blamed for what a layer gets, along its other dimensions."""
    for culprit in desk.culprits[:1]:
        if culprit.kind != "function" or culprit.name not in JOINS:
            return
        for _, call in desk.graph.chain(ref.id):
            if isinstance(call, FunctionCall) and call.name in JOINS:
                for candidate in other_dim(desk, call):
                    yield None if candidate is None else replace(candidate, strong=True)
                return


def other_dim(desk: Desk, call: FunctionCall) -> Found:
    """`cat` along the dimension that differs."""
    line = find(call.source)
    rank = len(call.inputs[0].shape)
    if line is None or not isinstance(line.tree, ast.Call):
        return
    if _awaited(desk, call):
        return
    node: ast.expr | None = line.argument("kwargs['dim']") or line.argument("args[1]")
    for dim in range(rank):
        text = None
        if node is not None:
            text = line.with_part(node, str(dim))
        elif line.code.rstrip().endswith(")"):
            text = line.around(f"{line.code.rstrip()[:-1]}, dim={dim})")
        kwargs = {key: value for key, value in call.kwargs.items() if key != "dim"}
        new = replace(call, args=call.args[:1], kwargs={**kwargs, "dim": dim})
        if text is not None:
            repair = Repair(calls={call.index: new})
            words = f"joins along dim {dim}"
            about = f"function:{call.name}"
            strong = call.kwargs.get("dim", (*call.args[1:], 0)[0]) == 0 and rank > 1
            yield Candidate(text, words, line.source, repair, about, strong)


def _awaited(desk: Desk, call: FunctionCall) -> bool:
    """Whether a layer that was not reached takes as many as `cat` would join along the
    dimension that it names: that one is meant."""
    dim = call.kwargs.get("dim", (*call.args[1:], 0)[0])
    if type(dim) is not int or any(len(ref.shape) <= dim for ref in call.inputs):
        return False
    total = sum(ref.shape[dim] for ref in call.inputs)
    return total in waiting(desk.graph).values()
