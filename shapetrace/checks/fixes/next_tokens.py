"""The line of a loss in which each position is compared with the next token."""

from __future__ import annotations

import ast
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.fixes.lines import at
from shapetrace.records import Fix, FunctionCall, TensorRef
from shapetrace.source.line import suffixed


class Side(NamedTuple):
    """One side of a loss as it is written: `node` is the whole argument, `inner` what
    still has the dimension of the time, `dim`, before it is flattened."""

    node: ast.expr
    inner: ast.expr
    dim: int


def next_tokens(context: CheckContext, loss: FunctionCall, tokens: int) -> Fix | None:
    """The prediction without its last position and the labels without their first;
    None where the line does not show which dimension of them is the time."""
    given, target = context.sides[loss.index]
    line, _ = at(loss, given.path)
    if line is None or target is None:
        return None
    scores = _side(context, loss, given, tokens, 3)
    labels = _side(context, loss, target, tokens, 2)
    if scores is None or labels is None or labels.dim != 1:
        return None
    flat = [side.node is not side.inner for side in (scores, labels)]
    if any(flat) and (not all(flat) or scores.dim != 1):
        return None
    ends = [".flatten(0, 1)", ".flatten()"] if all(flat) else ["", ""]
    cuts = [f"{{}}[{':, ' * scores.dim}:-1]", "{}[:, 1:]"]
    parts = [
        (side.node, suffixed(line.text(side.inner), side.inner, cut + end))
        for side, cut, end in zip((scores, labels), cuts, ends, strict=True)
    ]
    return Fix(line.with_parts([*parts]), where=line.source)


def _side(
    context: CheckContext, loss: FunctionCall, ref: TensorRef, tokens: int, rank: int
) -> Side | None:
    """Where an argument has so many dimensions, one of which is the tokens' last."""
    _, node = at(loss, ref.path)
    inner, tensor = node, ref.id
    time = context.axes.roots(tokens, len(context.graph.tensors[tokens].shape) - 1)
    while node is not None and inner is not None:
        shape = context.graph.tensors[tensor].shape
        dims = [d for d in range(len(shape)) if context.axes.roots(tensor, d) == time]
        if len(shape) == rank:
            return Side(node, inner, dims[0]) if len(dims) == 1 else None
        made = context.made_by(tensor)
        func = inner.func if isinstance(inner, ast.Call) else None
        if (
            made is None
            or not isinstance(func, ast.Attribute)
            or func.attr != made.name
        ):
            return None
        inner, tensor = func.value, made.inputs[0].id
    return None
