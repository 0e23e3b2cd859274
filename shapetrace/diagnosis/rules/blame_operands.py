"""Blame where two operands of a function disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.expected import waiting
from shapetrace.diagnosis.leaves import changers, leaves
from shapetrace.diagnosis.rules.blame_layer import blame_layer
from shapetrace.diagnosis.rules.einsum_letters import relettered
from shapetrace.diagnosis.rules.flattened import unbatched
from shapetrace.diagnosis.rules.like_widths import odd_one, prefer
from shapetrace.diagnosis.rules.odd_windows import misfit
from shapetrace.diagnosis.rules.order import (
    blame_order,
    disordered,
    misaligned,
    misplaced,
    steps_first,
)
from shapetrace.diagnosis.rules.producers import enclosing, holds, producers
from shapetrace.diagnosis.rules.suspects import explained_by_sum, is_uneven, parted
from shapetrace.diagnosis.sites import culprit_of_call, culprit_of_data
from shapetrace.lineage import Graph, Hop
from shapetrace.records import Culprit, FunctionCall


def blame_operands(
    graph: Graph, problem: Mismatch, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """add, cat, matmul: both branches back to where each got its size."""
    if left.tensor is None or right.tensor is None:
        return []
    a, b = graph.tensors[left.tensor].shape, graph.tensors[right.tensor].shape
    dropped = unbatched(graph, problem.call)
    if dropped is not None:
        return [dropped]
    swapped = untransposed(graph, problem) or _reversed(graph, problem)
    if swapped is not None:
        return [swapped]
    if disordered(problem):
        arranged = blame_order(graph, right.tensor, left.tensor)
        if arranged:
            return [
                *arranged,
                culprit_of_call(graph, problem.call, reason="takes both"),
            ]
    for spot, other in ((right, left), (left, right)):
        if holds(graph, spot):
            return blame_layer(graph, problem, other, spot)
    letters = relettered(problem.call)
    if letters is not None:
        place, old, new = letters
        which = ("first", "second", "third")[place] if place < 3 else "last"
        reason = f"calls the {which} operand `{old}`; as `{new}` all sizes agree"
        return [culprit_of_call(graph, problem.call, reason=reason)]
    apart = misaligned(graph, problem.call, left.tensor, right.tensor)
    if apart:
        return [*apart, culprit_of_call(graph, problem.call, reason="takes both")]
    for spot in (left, right):
        steps = steps_first(graph, spot) if spot.dim == 0 else None
        if steps is not None:
            return [steps, culprit_of_call(graph, problem.call, reason="takes both")]
    elsewhere = misplaced(graph, left.tensor, right.tensor)
    if elsewhere:
        return [*elsewhere, culprit_of_call(graph, problem.call, reason="takes both")]
    left, right = _odd_factor(graph, left, right) or (left, right)
    if right.size == 1:  # as a factor: what was not repeated is the odd side
        left, right = right, left
    assert left.tensor is not None and right.tensor is not None
    weights = [_parameter_end(graph, spot) for spot in (left, right)]
    if sorted(a) == sorted(b) and a != b:
        layouts = _layouts(graph, left, right)
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
            both = culprit_of_call(graph, problem.call, reason="takes both")
            return [window[0], *branches, both]
    if branches:
        end = graph.trail(left.tensor, left.dim or 0).end
        data = (
            [
                culprit_of_data(
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
        return [*branches, *data, *around]
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
    # what layers made against what came in (a mask, a table made in forward)
    if made == [True, False]:
        return [*second[:1], *first, *second[1:]]
    if made == [False, True]:
        return [*first[:1], *second, *first[1:]]
    odd, evidence = odd_one(graph, left, right)
    if odd and first and second:
        if odd > 0:
            first, second = second, first
        # the layer whose width it is, before the reshapes that carried the width on
        first.sort(key=lambda culprit: culprit.kind != "module")
        said = "; ".join(part for part in (first[0].reason, evidence) if part)
        first[0] = replace(first[0], reason=said)
        return [*first[:1], *second[:1], *first[1:], *second[1:]]
    swap = _changed(graph, right) > _changed(graph, left)
    if weights[0] != weights[1]:
        swap = weights[1]
    elif weights[0] and (verdict := _wanted_next(graph, problem, left, right)):
        swap = verdict > 0
    elif weights[0] and (verdict := prefer(graph, left.size, right.size)):
        swap = verdict > 0  # other layers take the left one's size: the right is odd
    if swap:
        first, second = second, first
    return [*first[:1], *second[:1], *first[1:], *second[1:]]


def _outvoted(problem: Mismatch, left: Spot, right: Spot) -> bool:
    """Whether several tensors are joined of which only the left one is odd."""
    assert left.dim is not None
    if problem.call.name not in ("cat", "concat", "concatenate", "stack"):
        return False
    sizes = [
        ref.shape[left.dim] for ref in problem.call.inputs if left.dim < len(ref.shape)
    ]
    return sizes.count(right.size) > 1 and sizes.count(left.size) == 1


def _joins(graph: Graph, spot: Spot, other: Spot) -> Culprit | None:
    assert spot.tensor is not None and spot.dim is not None
    return explained_by_sum(graph, graph.trail(spot.tensor, spot.dim), other.size)


def _odd_factor(graph: Graph, left: Spot, right: Spot) -> tuple[Spot, Spot] | None:
    """Where one line joined several dimensions (batch and heads) on both sides: those
    two, before it, that differ."""
    for spot, other in ((left, right), (right, left)):
        hop = _joining(graph, spot)
        if hop is None or other.tensor is None or other.dim is None:
            continue
        made = (hop.call.source, hop.call.name)
        for peer in graph.trail(other.tensor, other.dim).hops:
            call = peer.call
            if call.source is None or (call.source, call.name) != made:
                continue
            before, beside = hop.call.inputs[0], call.inputs[0]
            dims = [dim for _, dim in hop.origin.sources]
            if len(before.shape) != len(beside.shape):
                break
            if prod(beside.shape[dim] for dim in dims) != other.size:
                break
            odd = [dim for dim in dims if before.shape[dim] != beside.shape[dim]]
            if len(odd) == 1:
                at = odd[0]
                return (
                    Spot(before.id, at, before.shape[at]),
                    Spot(beside.id, at, beside.shape[at]),
                )
    return None


def _joining(graph: Graph, spot: Spot) -> Hop | None:
    """The newest call that made a size as a product of several of its first input's."""
    assert spot.tensor is not None and spot.dim is not None
    for hop in graph.trail(spot.tensor, spot.dim).hops:
        positions = {position for position, _ in hop.origin.sources}
        if hop.origin.how == "product" and positions == {0}:
            return hop if isinstance(hop.call, FunctionCall) else None
    return None


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
    return culprit_of_call(graph, call, dim=end.dim, size=made, reason=reason)


def _changed(graph: Graph, spot: Spot) -> int:
    assert spot.tensor is not None and spot.dim is not None
    trail = graph.trail(spot.tensor, spot.dim)
    return sum(2 if is_uneven(graph, hop) else 1 for hop in changers(trail.hops))


def _parameter_end(graph: Graph, spot: Spot) -> bool:
    assert spot.tensor is not None and spot.dim is not None
    return graph.trail(spot.tensor, spot.dim).end.kind == "parameter"


def untransposed(graph: Graph, problem: Mismatch) -> Culprit | None:
    """A matrix product that would go if its second operand were transposed."""
    name, refs = problem.call.name, problem.call.inputs[:2]
    if name not in ("matmul", "mm", "bmm", "linear", "baddbmm") or len(refs) < 2:
        return None
    a, b = refs[0].shape, refs[1].shape
    if len(a) < 2 or len(b) < 2 or b[-2] == b[-1]:
        return None
    inner, other = (b[-1], b[-2]) if name == "linear" else (b[-2], b[-1])
    if a[-1] != other:
        return None
    reason = f"both operands end in {a[-1]}: the second wants transpose(-2, -1)"
    if name == "linear":
        reason = (
            f"wants a weight that ends in {a[-1]}, as its input does: it wants "
            "transpose(-2, -1)"
        )
    return culprit_of_call(
        graph,
        problem.call,
        dim=len(b) - 2,
        size=inner,
        expected=a[-1],
        reason=reason,
    )


def _reversed(graph: Graph, problem: Mismatch) -> Culprit | None:
    """A product of two matrices that would go the other way round, and that way alone,
    as `x @ adjacency` does."""
    refs = problem.call.inputs[:2]
    if problem.call.name not in ("matmul", "mm") or len(refs) != 2:
        return None
    a, b = refs[0].shape, refs[1].shape
    if len(a) != 2 or len(b) != 2 or b[1] != a[0] or b[0] != b[1]:
        return None
    words = f"multiplies {a} by {b}; the other way round, {b} by {a}, they fit"
    return culprit_of_call(graph, problem.call, size=a[1], expected=b[0], reason=words)


def _wanted_next(graph: Graph, problem: Mismatch, left: Spot, right: Spot) -> int:
    """Which of two sizes the layers take that the same block has still to call: 1 for
    the left, -1 for the right, 0 where both or none."""
    module = graph.module_of(problem.call)
    inside = f"{module.name}." if module is not None and module.name else ""
    takes = {size for name, size in waiting(graph).items() if name.startswith(inside)}
    return (left.size in takes) - (right.size in takes)


def _layouts(graph: Graph, left: Spot, right: Spot) -> list[Culprit]:
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
                        culprit_of_call(
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
