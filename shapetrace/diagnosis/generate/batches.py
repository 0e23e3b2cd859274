"""A last batch that is shorter than the others: left out by its loader."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Written
from shapetrace.diagnosis.patterns.kept_state import kept_state
from shapetrace.diagnosis.sites import site_of_data
from shapetrace.source.line import keyword
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import Scope, bound
from shapetrace.source.tree import Tree, last_name, node_at


def batches(case: Case) -> Iterator[Hypothesis | None]:
    found = kept_state(case)
    if found is None or found.data.tensor is None:
        return
    end = case.graph.trail(found.data.tensor, found.data.dim or 0).end
    old, new = found.state.size, found.data.size
    line, where = without_last(case) if new < old else UNWRITTEN
    yield Hypothesis(
        "cut",
        site_of_data(case.graph, end.tensor),
        line=line,
        where=where,
        words="leaves out what is left over for the last batch" if line else "",
        loses="the samples of the last batch" if line else "",
        reason=f"is a batch of {new}, and `{found.said}` goes on from the state that "
        f"it gave for one of {old}",
        dim=0,
        size=new,
        expected=old,
    )


def without_last(case: Case) -> Written:
    """The loader of the failing batch built with `drop_last=True`: the one that the
    loop around the model's call is over, or the only one of the file."""
    top = case.root()
    found = node_at(top.source if top is not None else case.call.source)
    if found is None:
        return UNWRITTEN
    tree, node = found
    loaders = _looped_over(tree, node) or _loaders(tree.module)
    if len(loaders) != 1:
        return UNWRITTEN
    part = keyword(tree, loaders[0], "drop_last", "True")
    return UNWRITTEN if part is None else rewritten(tree, [part], loaders[0])


def _looped_over(tree: Tree, node: ast.AST) -> list[ast.Call]:
    scope = Scope(tree, tree.home(node))
    for outer in tree.around(node):
        if not isinstance(outer, ast.For):
            continue
        for inner in ast.walk(outer.iter):
            if isinstance(inner, ast.Name):
                values = [one.value for one in bound(scope, inner.id)]
                found = [call for value in values for call in _loaders(value)]
                if found:
                    return found
    return []


def _loaders(within: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(within)
        if isinstance(node, ast.Call) and last_name(node.func) == "DataLoader"
    ]
