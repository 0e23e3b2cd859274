"""The recorded calls as expressions in the frames of the user's code."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.records import FunctionCall, ModuleCall, Recording, Source
from shapetrace.source.scope import Expression, Scope, bind
from shapetrace.source.tree import Home, Tree, is_own, neighbours, node_at


def expression_of(rec: Recording, call: FunctionCall | ModuleCall) -> Expression | None:
    """The expression of a recorded call, in a scope that knows what its function was
    given as far as the recorded calls of modules tell."""
    found = node_at(call.source) if is_own(call.source) else None
    if found is None:
        return None
    tree, node = found
    if not isinstance(node, ast.expr):
        return None
    return Expression(node, scope_of(rec, tree, tree.home(node), call.parent))


def scope_of(rec: Recording, tree: Tree, home: Home, parent: int | None) -> Scope:
    """The scope of a function that ran within a module's call."""
    plain = Scope(tree, home)
    kind = plain.class_node()
    if parent is None or kind is None or not plain.self_name():
        return plain
    module = rec.calls[parent]
    if kind.name not in _classes(rec, module.name):
        return plain
    if not isinstance(home, ast.Module) and getattr(home, "name", "") == "forward":
        made = expression_of(rec, module)
        if made is not None and isinstance(made.node, ast.Call):
            if module.source != _above(rec, module):
                return bind(tree, home, made, module.name)
    return Scope(tree, home, owner=module.name)


def _classes(rec: Recording, name: str) -> set[str]:
    """The names of a module's class and of its bases, as far as they are known."""
    info = rec.modules.get(name)
    if info is None:
        return set()
    bases = {place.function.split(".")[-2] for place in info.inits if place.function}
    return bases | {info.type}


def _above(rec: Recording, module: ModuleCall) -> Source | None:
    """Where the call around a module's was written: inside an nn.Sequential both have
    one place, whose arguments are not the inner module's."""
    return rec.calls[module.parent].source if module.parent is not None else None


def own_scopes(rec: Recording) -> Iterator[Scope]:
    """The scopes of the user's files that calls of the recording stand in, and of all
    functions in them; files with a call outside of all modules come first."""
    tops = [call.source for call in rec.calls if call.parent is None]
    rest = [call.source for call in rec.functions if call.parent is None]
    roots = [rec.modules[name] for name in rec.roots if name in rec.modules]
    inits = [place for info in roots for place in info.inits]
    files = [
        place.file
        for place in (*tops, *rest, *inits)
        if place is not None and is_own(place)
    ]
    seen = set()
    for file in dict.fromkeys(files):
        for tree in neighbours(file):
            if tree.file not in seen:
                seen.add(tree.file)
                yield Scope(tree, tree.module)
                yield from (Scope(tree, home) for home in tree.functions)
