"""Blame where two operands of a function disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.blame_layer import blame_layer
from shapetrace.diagnosis.blame_other import blame_unknown
from shapetrace.diagnosis.joins import JOINS
from shapetrace.diagnosis.letters import relettered
from shapetrace.diagnosis.makers import enclosing, holds, producers
from shapetrace.diagnosis.misfit import misfit
from shapetrace.diagnosis.order import (
    blame_order,
    disordered,
    misaligned,
    steps_first,
)
from shapetrace.diagnosis.problem import Problem, Spot
from shapetrace.diagnosis.suspects import (
    changers,
    explained_by_sum,
    is_uneven,
    leaves,
    of_call,
    of_data,
    parted,
)
from shapetrace.diagnosis.votes import odd_one, prefer
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall


def blame_operands(
    graph: Graph, problem: Problem, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """add, cat, matmul: both branches back to where each got its size."""
    if left.tensor is None or right.tensor is None:
        return blame_unknown(graph, problem)
    a, b = graph.tensors[left.tensor].shape, graph.tensors[right.tensor].shape
    swapped = _untransposed(graph, problem, a, b)
    if swapped is not None:
        return [swapped]
    if disordered(problem):
        arranged = blame_order(graph, right.tensor, left.tensor)
        if arranged:
            return [*arranged, of_call(graph, problem.call, reason="takes both")]
    for spot, other in ((right, left), (left, right)):
        if holds(graph, spot):
            return blame_layer(graph, problem, other, spot)
    letters = relettered(problem.call)
    if letters is not None:
        place, old, new = letters
        which = ("first", "second", "third")[place] if place < 3 else "last"
        reason = f"calls the {which} operand `{old}`; as `{new}` all sizes agree"
        return [of_call(graph, problem.call, reason=reason)]
    apart = misaligned(graph, problem.call, left.tensor, right.tensor)
    if apart:
        return [*apart, of_call(graph, problem.call, reason="takes both")]
    for spot in (left, right):
        steps = steps_first(graph, spot) if spot.dim == 0 else None
        if steps is not None:
            return [steps, of_call(graph, problem.call, reason="takes both")]
    weights = [_parameter_end(graph, spot) for spot in (left, right)]
    if sorted(a) == sorted(b) and a != b:
        layouts = _layouts(graph, problem, left, right)
        if layouts:
            return layouts
    for spot, other in ((left, right), (right, left)):
        joined = _joins(graph, spot, other)
        if joined is not None:
            return [joined, *parted(graph, left, right)]
    branches = parted(graph, left, right)
    for spot in (left, right):
        window = misfit(graph, problem, spot)
        if window is not None and window[1]:
            both = of_call(graph, problem.call, reason="takes both")
            return [window[0], *branches, both]
    if branches:
        end = graph.trail(left.tensor, left.dim or 0).end
        data = (
            [
                of_data(
                    graph,
                    end.tensor,
                    dim=end.dim,
                    size=graph.size(end.tensor, end.dim),
                    reason=f"comes in with {graph.size(end.tensor, end.dim)}",
                )
            ]
            if end.kind == "data"
            else []
        )
        around = enclosing(graph, problem.call, "holds both branches")
        return [*branches[: 1 + (not data)], *data, *around]
    merged = _merged(graph, left, right) or _merged(graph, right, left)
    sides = []
    for spot, other in ((left, right), (right, left)):
        assert spot.tensor is not None and spot.dim is not None
        found = leaves(graph, spot.tensor, spot.dim)
        sides.append(producers(graph, found, spot, other))
    first, second = sides
    if merged is not None:
        return [merged, *first[:1], *second[:1]]
    if _outvoted(problem, left, right):
        return [*first[:1], *second[:1], *first[1:], *second[1:]]
    made = [graph.from_model(spot.tensor) for spot in (left, right) if spot.tensor]
    if made == [True, False]:
        return _one_is_data(graph, left, right, first, second)
    if made == [False, True]:
        return _one_is_data(graph, right, left, second, first)
    odd, evidence = odd_one(graph, left, right)
    if odd and first and second:
        if odd > 0:
            first, second = second, first
        # the layer whose width it is, before the reshapes that carried the width on
        first.sort(key=lambda culprit: culprit.kind != "module")
        first[0] = replace(first[0], reason=f"{first[0].reason}; {evidence}")
        return [*first[:1], *second[:1], *first[1:], *second[1:]]
    swap = _changed(graph, right) > _changed(graph, left)
    if weights[0] != weights[1]:
        swap = weights[1]
    elif weights[0] and (verdict := prefer(graph, left.size, right.size)):
        swap = verdict > 0  # other layers take the left one's size: the right is odd
    if swap:
        first, second = second, first
    return [*first[:1], *second[:1], *first[1:], *second[1:]]


def _outvoted(problem: Problem, left: Spot, right: Spot) -> bool:
    """Whether several tensors are joined of which only the left one is odd."""
    assert left.dim is not None
    if problem.call.name not in (*JOINS, "stack"):
        return False
    sizes = [
        ref.shape[left.dim]
        for ref in problem.call.inputs
        if left.dim < len(ref.shape)
    ]
    return sizes.count(right.size) > 1 and sizes.count(left.size) == 1


def _joins(graph: Graph, spot: Spot, other: Spot) -> Culprit | None:
    assert spot.tensor is not None and spot.dim is not None
    return explained_by_sum(graph, graph.trail(spot.tensor, spot.dim), other.size)


def _merged(graph: Graph, spot: Spot, other: Spot) -> Culprit | None:
    """The user's call that joined what the other side has as a dimension of its own."""
    assert spot.tensor is not None and spot.dim is not None
    end = graph.trail(spot.tensor, spot.dim).end
    call, origin = end.call, end.origin
    if end.kind != "branch" or origin is None or origin.how != "product":
        return None
    sizes = [graph.size(*source) for source in end.sources]
    if other.size not in sizes or not isinstance(call, FunctionCall) or not call.direct:
        return None
    made = graph.size(end.tensor, end.dim)
    reason = f"joins {origin.note} into {made}; the other side keeps {other.size}"
    return of_call(graph, call, dim=end.dim, size=made, reason=reason)


def _one_is_data(
    graph: Graph, model: Spot, data: Spot, makers: list[Culprit], own: list[Culprit]
) -> list[Culprit]:
    """What layers made against what came in (a mask, a table made in forward)."""
    return [*own[:1], *makers, *own[1:]]


def _changed(graph: Graph, spot: Spot) -> int:
    assert spot.tensor is not None and spot.dim is not None
    trail = graph.trail(spot.tensor, spot.dim)
    return sum(2 if is_uneven(graph, hop) else 1 for hop in changers(graph, trail.hops))


def _parameter_end(graph: Graph, spot: Spot) -> bool:
    assert spot.tensor is not None and spot.dim is not None
    return graph.trail(spot.tensor, spot.dim).end.kind == "parameter"


def _untransposed(
    graph: Graph, problem: Problem, a: tuple[int, ...], b: tuple[int, ...]
) -> Culprit | None:
    """A matrix product that would go if its second operand were transposed."""
    if problem.call.name not in ("matmul", "mm", "bmm", "linear", "baddbmm"):
        return None
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-1] or b[-2] == b[-1]:
        return None
    return of_call(
        graph,
        problem.call,
        dim=len(b) - 2,
        size=b[-2],
        expected=a[-1],
        reason=f"both operands end in {a[-1]}: the second wants transpose(-2, -1)",
    )


def _layouts(graph: Graph, problem: Problem, left: Spot, right: Spot) -> list[Culprit]:
    """The same sizes in another order: a missing permute. Whoever put a new dimension
    in another place than the other side (one_hot puts classes last) is the culprit."""
    found = []
    for spot, other in ((right, left), (left, right)):
        assert spot.tensor is not None
        rank = len(graph.tensors[spot.tensor].shape)
        for dim in range(rank):
            end = graph.trail(spot.tensor, dim).end
            if end.kind == "argument" and isinstance(end.call, FunctionCall):
                if end.call.direct and end.call.inputs:
                    found.append(
                        of_call(
                            graph,
                            end.call,
                            dim=dim,
                            size=graph.size(spot.tensor, dim),
                            expected=None,
                            reason=(
                                "the same sizes stand in another order: a permute is "
                                "missing after it"
                            ),
                        )
                    )
    return found
