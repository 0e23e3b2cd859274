"""Blame for a view of another number of elements."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.expected import waiting
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.rules.makers import producers
from shapetrace.diagnosis.rules.votes import usual
from shapetrace.diagnosis.sites import culprit_of_call, owner
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall


def blame_view(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """A view of another number of elements: the view names a number that is not the
    data's; the data's sizes are named after it."""
    call = problem.call
    wanted = problem.right.size if problem.right else None
    filling = _filling(graph, problem)
    if filling is not None:
        yield filling
    yield culprit_of_call(
        graph,
        call,
        size=problem.left.size if problem.left else None,
        expected=wanted,
        reason=(
            f"asks for {wanted} elements (or a multiple)"
            if wanted
            else "asks for another number of elements"
        ),
    )
    if not call.inputs:
        return
    tensor = call.inputs[0]
    left = problem.left
    dims = [left.dim] if left is not None and left.dim is not None else None
    for dim in _unlike_dims(call, tensor.shape) if dims is None else dims:
        found = leaves(graph, tensor.id, dim)
        spot = Spot(tensor.id, dim, tensor.shape[dim])
        yield from producers(graph, found, spot, Spot(None, None, 0))


def _filling(graph: Graph, problem: Mismatch) -> Culprit | None:
    """The layer whose width would fill the asked shape: where its like have a width
    that does, or where a later layer takes the channels that are asked for. Then the
    view is right."""
    call, wanted = problem.call, problem.right.size if problem.right else 0
    shape = call.inputs[0].shape if call.inputs else ()
    sizes = asked(call)
    if len(shape) < 2 or not sizes:
        return None
    last = len(shape) - 1
    end = graph.trail(call.inputs[0].id, last).end
    name = owner(graph, end.tensor) if end.kind == "parameter" else None
    own = shape[last]
    if name is None or graph.size(end.tensor, end.dim) != own:
        return None
    reason = f"makes the {own} (out_features)"
    told = usual(graph, end.tensor, end.dim)
    if told is not None and _fills(prod(shape[:-1]) * told[0], sizes):
        reason += f"; {told[1]}"
        return Culprit("module", name, last, own, told[0], reason=reason)
    later = [one for one, takes in waiting(graph).items() if takes in sizes[1:2]]
    if len(shape) == 2 and len(sizes) > 2 and wanted and later:
        reason += f"; `{later[0]}` takes the {sizes[1]} channels that the view asks for"
        return Culprit("module", name, 1, own, wanted, reason=reason)
    return None


def _fills(elements: int, sizes: tuple[int, ...]) -> bool:
    """Whether so many elements have a view of those sizes."""
    known = prod(size for size in sizes if size != -1)
    return known > 0 and (elements % known == 0 if -1 in sizes else elements == known)


def asked(call: FunctionCall) -> tuple[int, ...]:
    """The sizes that a view asks for; () where they are not all numbers."""
    rest = call.args[1:]
    if len(rest) == 1 and isinstance(rest[0], (tuple, list)):
        rest = tuple(rest[0])
    return tuple(rest) if all(type(size) is int for size in rest) else ()


def _unlike_dims(call: FunctionCall, shape: tuple[int, ...]) -> list[int]:
    """The dimensions of a tensor that an asked shape does not have: what is alike at
    the front and at the end is left out, the last of the rest comes first."""
    sizes = asked(call)
    first, last = 0, len(shape)
    for size, wanted in zip(shape, sizes):
        if size != wanted:
            break
        first += 1
    for wanted in reversed(sizes[first:]):
        start, product = last, 1
        while start > first and product < wanted:
            start -= 1
            product *= shape[start]
        if product != wanted:
            break
        last = start
    return [*reversed(range(first, last))] or [*range(1, len(shape))]
