"""A tensor that the model makes with a number written out: a hidden state for 32
sequences, a mask for 128 steps. The size of the forward's own input in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Taken
from shapetrace.diagnosis.made_between import made_between
from shapetrace.diagnosis.repair.edits import resized
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.sizes.factory_size import sized_from, takes_shape
from shapetrace.lineage import End
from shapetrace.records import FunctionCall
from shapetrace.source.integers import shape_item
from shapetrace.source.line import Line, find, line_of
from shapetrace.source.scope import Scope, bound
from shapetrace.source.tree import last_name

_FACTORIES = "zeros ones randn rand empty full".split()
_FACTORIES += ["new_zeros", "new_ones", "new_empty", "new_full", "arange"]
_FOLLOWS = "follows the input instead of a fixed {}"


def factories(case: Case) -> Iterator[Hypothesis | None]:
    graph = case.graph
    yield from _like(case)
    for spot, wanted in case.mismatch.wanted:
        if spot.tensor is None or graph.is_parameter(spot.tensor):
            continue
        rank = len(graph.tensors[spot.tensor].shape)
        for dim in range(rank) if spot.dim is None else [spot.dim]:
            end = graph.trail(spot.tensor, dim).end
            made = end.call
            if end.kind in ("data", "argument") and isinstance(made, FunctionCall):
                own = made.parent is not None or made_between(graph, made)
                own = own or _stayed(case, made)
                if own and made.name in _FACTORIES:
                    yield _resized(case, made, end.dim, wanted)


def _stayed(case: Case, made: FunctionCall) -> bool:
    """Whether a number that it was given was right for an earlier batch alone."""
    culprit = case.earlier.culprit if case.earlier is not None else None
    return culprit is not None and culprit.index == made.index


def _like(case: Case) -> Iterator[Hypothesis | None]:
    """`zeros_like(x)` and `x.new_zeros(…)` that an odd size comes from: a choice of
    another tensor's shape, made for one side alone."""
    both = set.intersection(*({one.site.key for one in made} for made in case.makers))
    for behind in case.behind:
        call = behind.call
        if not takes_shape(call) or not call.outputs or call.index not in case.passed:
            continue
        site, line = site_of_call(case.graph, call), find(call.source)
        func = line.tree.func if line and isinstance(line.tree, ast.Call) else None
        if func is None or last_name(func) != call.name or site.key in both:
            continue
        reason = f"takes over the shape of its argument, {call.outputs[0].shape}"
        yield Hypothesis("number", site, hops=behind.hops, reason=reason)


def _resized(
    case: Case, made: FunctionCall, dim: int, wanted: int
) -> Hypothesis | None:
    if not made.outputs or wanted < 1:
        return None
    if made.name == "arange" and made.args != made.outputs[0].shape:
        return None  # from elsewhere than 0, or in other steps than 1
    old = made.outputs[0].shape[dim]
    # what a layer asks for by its own settings follows no input
    right = case.mismatch.right
    settled = case.layer is not None and right is not None and right.tensor is None
    line = find(made.source)
    text, where, words = "", None, _FOLLOWS.format(old)
    words = f"{wanted} instead of {old}" if settled else words
    if line is not None:
        first = len(made.inputs)  # `x.new_zeros(…)` takes `x` before the sizes
        node = line.argument(f"args[{first + dim}]") or line.argument(
            f"args[{first}][{dim}]"
        )
        size = case.spelled_size(made, wanted, written=node)
        size = str(wanted) if settled else size
        read = _read_off(case, made, dim, wanted, line, node)
        if read is not None:
            line, node, size = read
            words = f"reads off {wanted} instead of {old}"
        if node is not None and size is not None:
            text, where = line.with_part(node, size), line.source
    since = case.earlier.call.order if _stayed(case, made) and case.earlier else -1
    taken = tuple(
        Taken(one.outputs[0].id, resized({dim: wanted}))
        for one in case.alike(made)
        if one.outputs and one.order > since
    )
    return Hypothesis(
        "number",
        case.site_of(made.outputs[0].id),
        Repair(taken=taken),
        case.hops(made.outputs[0].id),
        text,
        where,
        words,
        reason=f"makes {old} in dim {dim}",
        dim=dim,
        size=old,
        expected=wanted,
    )


def _read_off(
    case: Case,
    made: FunctionCall,
    dim: int,
    wanted: int,
    line: Line,
    node: ast.expr | None,
) -> tuple[Line, ast.expr, str] | None:
    """The number of the dimension in `n = x.shape[1]`, where a name stands for a size
    that is read off a tensor, and that of the one that has the wanted size."""
    assert made.outputs
    end = End("data", made.outputs[0].id, dim, made)
    read = sized_from(case.graph, end) if isinstance(node, ast.Name) else None
    if read is None:
        return None
    shape = case.graph.tensors[read[0]].shape
    scope = Scope(line.file, line.file.home(line.node))
    while isinstance(node, ast.Name):
        ways = bound(scope, node.id)
        node = ways[0].value if len(ways) == 1 and ways[0].item is None else None
    item = None if node is None else shape_item(node)
    if node is None or item is None or shape.count(wanted) != 1:
        return None
    number = node.slice if isinstance(node, ast.Subscript) else None
    if isinstance(node, ast.Call) and last_name(node.func) == "size":
        number = node.args[0]
    new = item[1] + shape.index(wanted) - read[1]
    return None if number is None else (line_of(line.file, node), number, str(new))
