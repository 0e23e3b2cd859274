"""The name under which a script keeps what its `with` hands out."""

from __future__ import annotations

import ast

from shapetrace.source.tree import last_name, tree


def with_name(file: str, line: int) -> str | None:
    """`k` of `with shapetrace.trace(model) as k:`, where that stands at the line; None
    where the line does not tell."""
    found = tree(file)
    if found is None:
        return None
    entered = [
        item
        for node in found.nodes
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
        if item.context_expr.lineno <= line <= (item.context_expr.end_lineno or 0)
    ]
    for item in entered:
        given, kept = item.context_expr, item.optional_vars
        if isinstance(given, ast.Call) and last_name(given.func) == "trace":
            return kept.id if isinstance(kept, ast.Name) else None
    if len(entered) == 1 and isinstance(entered[0].context_expr, ast.Name):
        return entered[0].context_expr.id  # `k = trace(model)`, and then `with k:`
    return None
