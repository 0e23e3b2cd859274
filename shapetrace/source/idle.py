"""Statements that do nothing: what `x = x.squeeze(1)` is without the call."""

from __future__ import annotations

import ast

from shapetrace.records import Source
from shapetrace.source.tree import tree


def unless_idle(line: str, where: Source | None) -> str:
    """What stands in the place of a statement: the line, nothing where it would give a
    variable what it holds, and `pass` where nothing else is in the block."""
    if where is None or not _is_idle(line):
        return line
    found = tree(where.file)
    for node in found.statements if found is not None else ():
        if node.lineno == where.line and node.end_lineno == where.end_line:
            assert found is not None
            return "pass" if _is_all(found.parents[node], node) else ""
    return line


def _is_idle(line: str) -> bool:
    try:
        body = ast.parse(line).body
    except SyntaxError:
        return False
    if len(body) != 1 or not isinstance(body[0], ast.Assign):
        return False
    targets, value = body[0].targets, body[0].value
    plain = isinstance(value, ast.Name | ast.Attribute)
    return plain and [ast.unparse(each) for each in targets] == [ast.unparse(value)]


def _is_all(block: ast.AST, statement: ast.stmt) -> bool:
    """Whether a statement is all that one of the bodies of a block has."""
    bodies = (getattr(block, key, None) for key in ("body", "orelse", "finalbody"))
    return any(body == [statement] for body in bodies)
