"""What a size in a factory call of the user's was written as: `torch.zeros(x.size(0))`
has the first size of the forward's argument `x`."""

from __future__ import annotations

import ast

from shapetrace.lineage import End, Graph
from shapetrace.records import FunctionCall
from shapetrace.source.line import find
from shapetrace.source.scope import arguments


def sized_from(graph: Graph, end: End) -> tuple[int, int] | None:
    """The tensor and dimension whose size the code asks a factory for, where that is
    an argument of the forward around it; None for numbers written out and all else."""
    made = end.call
    if end.kind != "data" or not isinstance(made, FunctionCall) or made.inputs:
        return None
    module, line = graph.module_of(made), find(made.source)
    if module is None or line is None or not made.outputs:
        return None
    node = line.argument(f"args[{end.dim}]") or line.argument(f"args[0][{end.dim}]")
    found = _name_and_dim(node)
    names = arguments(made)
    if found is None or found[0] not in names:
        return None
    path, size = f"args[{names.index(found[0])}]", made.outputs[0].shape[end.dim]
    for ref in module.inputs:
        if ref.path == path and ref.shape[found[1] : found[1] + 1] == (size,):
            return ref.id, found[1]
    return None


def _name_and_dim(node: ast.expr | None) -> tuple[str, int] | None:
    """`x.size(0)`, `x.shape[0]` and `len(x)` as ("x", 0)."""
    dim: ast.expr
    if isinstance(node, ast.Call) and len(node.args) == 1:
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            inner = node.args[0]
            return (inner.id, 0) if isinstance(inner, ast.Name) else None
        whole, dim, attr = node.func, node.args[0], "size"
    elif isinstance(node, ast.Subscript):
        whole, dim, attr = node.value, node.slice, "shape"
    else:
        return None
    if not isinstance(whole, ast.Attribute) or whole.attr != attr:
        return None
    if not isinstance(whole.value, ast.Name) or not isinstance(dim, ast.Constant):
        return None
    number = dim.value
    return (whole.value.id, number) if type(number) is int and number >= 0 else None
