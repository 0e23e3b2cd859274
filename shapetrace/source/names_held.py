"""Names that hold, where they are read, what they held before something else."""

from __future__ import annotations

import ast
from collections.abc import Collection

from shapetrace.source.scope import nodes
from shapetrace.source.tree import Tree

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
#: statements that give names a value when all else in them is done
_ASSIGNS = (ast.Assign, ast.AnnAssign, ast.AugAssign)


def held(
    tree: Tree, read: ast.Name, before: ast.AST, used: Collection[int] = ()
) -> bool:
    """Whether a name that is read in a function got its value, a tensor, before an
    expression of the same function, and not anew between, nor in a loop around that.
    `used` are the lines where something takes the tensor."""
    home = tree.home(read)
    if home is not tree.home(before):
        return False
    begin, at = _begin(before), _begin(read)
    given = [
        (node, _end(tree, node))
        for node, _ in nodes(home)
        if isinstance(node, ast.Name)
        and node.id == read.id
        and not isinstance(node.ctx, ast.Load)
    ]
    between = [node for node, end in given if begin < end <= at]
    own = tree.statement(before)
    for node in between:
        if tree.statement(node) is own or _may_hold(tree, node, used):
            return False
    for outer in tree.around(before):
        if outer is home:
            break
        if isinstance(outer, _LOOPS):
            inside = set(ast.walk(outer))
            if any(node in inside and end > begin for node, end in given):
                return False
    return True


def _may_hold(tree: Tree, name: ast.Name, used: Collection[int]) -> bool:
    """Whether a name may be given the tensor anew: not by a call that does not take it,
    in a branch that was not run."""
    statement = tree.statement(name)
    value = getattr(statement, "value", None)
    branch = isinstance(tree.parents.get(statement), ast.If)
    if not branch or not isinstance(value, ast.Call):
        return True
    first, last = value.lineno, value.end_lineno or value.lineno
    return any(first <= line <= last for line in used)


def _begin(node: ast.AST) -> tuple[int, int]:
    assert isinstance(node, ast.expr | ast.stmt)
    return node.lineno, node.col_offset


def _end(tree: Tree, name: ast.Name) -> tuple[int, int]:
    """Where a name has its new value."""
    node: ast.expr | ast.stmt = name
    statement = tree.statement(name)
    if isinstance(statement, _ASSIGNS):
        node = statement
    return node.end_lineno or node.lineno, node.end_col_offset or 0
