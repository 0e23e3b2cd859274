"""The number in the source that a size stems from, changed where it is written."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from shapetrace.records import Source
from shapetrace.source.integers import Inits, Stem, stem
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import Expression
from shapetrace.source.tree import Tree


def renumbered(
    old: Expression, new: int, inits: Inits, making: Collection[ast.stmt]
) -> tuple[str, Source] | None:
    """The statement in which the number is written that makes an expression what it is,
    with the number that makes it `new`: `n_ctx=128` among the defaults of a model that
    hands its `n_ctx` on. None where the number is written in the expression itself, or
    is for something else too than the statements of `making`."""
    found = stem(old, inits)
    if found is None or found.value is None:
        return None
    for leaf, number in _solved(found, new):
        node, tree = leaf.where.node, leaf.where.scope.tree
        if not isinstance(node, ast.Constant) or not leaf.names:
            continue
        if all(_is_for_one(tree, name, making) for name in leaf.names):
            return rewritten(tree, [(node, str(number))], node)
    return None


def _solved(found: Stem, new: int) -> Iterator[tuple[Stem, int]]:
    """Which written number has to be which, for a sum of numbers to be `new`."""
    if found.kind in ("constant", "default"):
        yield found, new
    elif found.kind == "expression" and found.value and len(found.parts) == 2:
        operator = getattr(found.where.node, "op", None)
        left, right = found.parts
        if left.value is None or right.value is None:
            return
        if isinstance(operator, ast.FloorDiv):
            yield from _solved(left, new * right.value)
        elif isinstance(operator, ast.Mult):
            for part, other in ((left, right.value), (right, left.value)):
                if other and new % other == 0:
                    yield from _solved(part, new // other)
        elif isinstance(operator, ast.Add):
            yield from _solved(left, new - right.value)
            yield from _solved(right, new - left.value)


def _is_for_one(tree: Tree, name: str, making: Collection[ast.stmt]) -> bool:
    """Whether each function of a file that takes a parameter of that name reads it in
    one statement alone, or in those of `making`."""
    plain = name.rpartition(".")[2]
    for function in tree.functions:
        named = [arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)]
        if plain not in named:
            continue
        reads = {
            tree.statement(node)
            for node in ast.walk(function)
            if isinstance(node, ast.Name)
            and node.id == plain
            and isinstance(node.ctx, ast.Load)
        }
        if len(reads) > 1 and not reads <= set(making):
            return False
    return True
