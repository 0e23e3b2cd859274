"""Names that are given a value which nothing reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.source.line import Line
from shapetrace.source.tree import last_name

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
#: what reads names that the code does not spell
_READERS = ("locals", "vars", "eval", "exec")


def given_up(line: Line) -> str | None:
    """The name that an expression's value is assigned to, where nothing in the function
    reads it afterwards. None at the top of a file, whose names others may read."""
    statement, home = line.file.statement(line.node), line.file.home(line.node)
    if isinstance(home, ast.Module | ast.Lambda):
        return None
    if not isinstance(statement, ast.Assign) or statement.value is not line.node:
        return None
    target, *more = statement.targets
    if more or not isinstance(target, ast.Name) or target.id.startswith("_"):
        return None
    name = target.id
    if _is_open(home, name):
        return None
    own = set(ast.walk(statement))
    loop = loop_of(line, name)
    again = list(_repeating(line))
    inside: set[ast.AST] = set() if loop is None else set(ast.walk(loop))
    for node in _reads(home, name):
        behind = (node.lineno, node.col_offset) > (
            statement.end_lineno or statement.lineno,
            statement.end_col_offset or 0,
        )
        if node not in own and behind:
            return None
        if node not in inside and any(node in around for around in again):
            return None
    return name


def loop_of(line: Line, name: str) -> ast.stmt | None:
    """The loop around an expression whose items have a name."""
    for outer in line.file.around(line.node):
        if isinstance(outer, ast.For | ast.AsyncFor):
            if any(
                isinstance(node, ast.Name) and node.id == name
                for node in ast.walk(outer.target)
            ):
                return outer
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            break
    return None


def _repeating(line: Line) -> Iterator[set[ast.AST]]:
    """All that stands in each loop around an expression."""
    for outer in line.file.around(line.node):
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        if isinstance(outer, _LOOPS):
            yield set(ast.walk(outer))


def _reads(home: ast.AST, name: str) -> Iterator[ast.Name]:
    for node in ast.walk(home):
        if isinstance(node, ast.Name) and node.id == name:
            if not isinstance(node.ctx, ast.Store):
                yield node


def _is_open(home: ast.AST, name: str) -> bool:
    """Whether a name may be read where it is not seen."""
    for node in ast.walk(home):
        if isinstance(node, ast.Global | ast.Nonlocal) and name in node.names:
            return True
        if isinstance(node, ast.Call) and last_name(node.func) in _READERS:
            return True
    return False
