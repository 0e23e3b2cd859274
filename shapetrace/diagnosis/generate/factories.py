"""A tensor that the model makes with a number written out: a hidden state for 32
sequences, a mask for 128 steps. The size of the forward's own input in its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Taken
from shapetrace.diagnosis.repair.edits import resized
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.sizes.factory_size import takes_shape
from shapetrace.records import FunctionCall
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

_FACTORIES = "zeros ones randn rand empty full".split()
_FACTORIES += ["new_zeros", "new_ones", "new_empty", "new_full"]
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
                own = made.parent is not None or _stayed(case, made)
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
    old = made.outputs[0].shape[dim]
    # what a layer asks for by its own settings follows no input
    right = case.mismatch.right
    settled = case.layer is not None and right is not None and right.tensor is None
    line = find(made.source)
    text, where = "", None
    if line is not None:
        first = len(made.inputs)  # `x.new_zeros(…)` takes `x` before the sizes
        node = line.argument(f"args[{first + dim}]") or line.argument(
            f"args[{first}][{dim}]"
        )
        size = case.spelled_size(made, wanted, written=node)
        size = str(wanted) if settled else size
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
        f"{wanted} instead of {old}" if settled else _FOLLOWS.format(old),
        reason=f"makes {old} in dim {dim}",
        dim=dim,
        size=old,
        expected=wanted,
    )
