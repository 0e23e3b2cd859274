"""The arguments of the user's function around a place in the code."""

from __future__ import annotations

import ast
import linecache

from shapetrace.records import FunctionCall, Source


def arguments(made: FunctionCall) -> list[str]:
    """The arguments of the function in which a call stands, `self` left out."""
    return arguments_at(made.source)


def arguments_at(source: Source | None) -> list[str]:
    """The same for a place in the user's code."""
    if source is None:
        return []
    try:
        tree = ast.parse("".join(linecache.getlines(source.file)))
    except SyntaxError:  # a notebook's cell with magic commands
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            if node.lineno <= source.line <= (node.end_lineno or node.lineno):
                found = [arg.arg for arg in node.args.args if arg.arg != "self"]
    return found
