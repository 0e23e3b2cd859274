"""Loops of the user's code, and what they go through."""

from __future__ import annotations

import ast

from shapetrace.records import Source
from shapetrace.source.rewrite import rewritten
from shapetrace.source.tree import is_own, tree


def looped(source: Source | None) -> tuple[str, Source] | None:
    """The head of a `for` at a place, with what it goes through in a list of its own;
    None where no loop begins there."""
    file = tree(source.file) if source is not None and is_own(source) else None
    if source is None or file is None:
        return None
    for node in file.nodes:
        if isinstance(node, ast.For) and node.iter.lineno == source.line:
            whole = f"[{file.text(node.iter)}]"
            return rewritten(file, [(node.iter, whole)], node.iter)
    return None
