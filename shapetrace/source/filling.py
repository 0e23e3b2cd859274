"""Which functions made a tensor that was there before the block, by the user's code."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, Recording
from shapetrace.source.frames import expression_of
from shapetrace.source.line import find
from shapetrace.source.scope import (
    Expression,
    Scope,
    bound,
    defined_at,
    function_of,
    nodes,
)
from shapetrace.source.tree import last_name

#: names that stand for one another, and functions inside of one another
_DEEPEST = 6


def filled_by(info: ModuleInfo, name: str) -> frozenset[str]:
    """The functions called in what a module's constructor gives an attribute:
    `register_buffer("mask", torch.tril(...))`."""
    found: set[str] = set()
    for one in _set_in_constructors(info, name):
        found.update(_called(one, _DEEPEST))
    return frozenset(found)


def is_set_by(info: ModuleInfo, name: str) -> bool:
    """Whether a module's constructor itself gives it an attribute."""
    return any(True for _ in _set_in_constructors(info, name))


def _set_in_constructors(info: ModuleInfo, name: str) -> Iterator[Expression]:
    for source in info.inits:
        home = defined_at(source)
        if home is not None:
            scope = Scope(*home)
            for one in bound(scope, f"{scope.self_name()}.{name}"):
                yield Expression(one.value, scope)


def given_by(
    rec: Recording, call: FunctionCall | ModuleCall, path: str
) -> frozenset[str]:
    """The functions called in what one argument of a call stands for."""
    line, made = find(call.source), expression_of(rec, call)
    node = None if line is None else line.argument(path)
    if node is None or made is None:
        return frozenset()
    return frozenset(_called(made.at(node), _DEEPEST))


def _called(made: Expression, left: int) -> Iterator[str]:
    """The functions called in an expression, and in what its names stand for."""
    if not left:
        return
    for node in ast.walk(made.node):
        if isinstance(node, ast.Call):
            yield last_name(node.func)
            found = function_of(made.scope, node.func)
            if found is not None:
                for inner, _ in nodes(found[1]):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        value = Expression(inner.value, Scope(*found))
                        yield from _called(value, left - 1)
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from _bound(made, node, left)


def _bound(
    made: Expression, node: ast.Name | ast.Attribute, left: int
) -> Iterator[str]:
    """The same of what a name, or an attribute of `self`, was given."""
    scope, name = made.scope, made.scope.tree.text(node)
    if isinstance(node, ast.Name):
        given = scope.given.get(name)
        if given is not None:
            yield from _called(given, left - 1)
        holder = scope.holder(name)
        for one in bound(holder, name) if holder is not None else ():
            yield from _called(Expression(one.value, holder or scope), left - 1)
        return
    kind = scope.class_node()
    for home in kind.body if kind is not None else ():
        if isinstance(home, ast.FunctionDef) and home.name == "__init__":
            start = Scope(scope.tree, home)
            for each in bound(start, name):
                yield from _called(Expression(each.value, start), left - 1)
