"""A dimension that a loop takes apart and puts together again: the steps of a recurrent
layer by hand, views that are encoded one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.lineage.graph import Graph
from shapetrace.records import FunctionCall
from shapetrace.signatures import kind

#: calls of one step that are looked at
_MOST = 256


class Unrolled(NamedTuple):
    """The dimension that a loop ran over; `pick` took one step of it, and `carries`
    says whether a step goes on from what the one before has made."""

    tensor: int
    dim: int
    pick: FunctionCall
    carries: bool


class _Pick(NamedTuple):
    tensor: int
    dim: int
    entry: int
    call: FunctionCall


def unrolled(graph: Graph, join: FunctionCall) -> Unrolled | None:
    """What the pieces that are put together are steps of: each was made of the next
    entry of one dimension, after the piece before it and before the one behind it."""
    pieces = [ref.id for ref in join.inputs]
    makers = [graph.producer(one) for one in pieces]
    ends = [made.index for made in makers if isinstance(made, FunctionCall)]
    if len(pieces) < 2 or len(ends) < len(pieces):
        return None
    order = sorted(ends)
    if order != ends and order != ends[::-1] or len(set(ends)) < len(ends):
        return None
    starts = {end: start for start, end in zip(order, order[1:])}
    starts[order[0]] = order[0] - (order[1] - order[0])
    found: dict[tuple[int, int], list[_Pick]] = {}
    carried = 0
    for at, (piece, end) in enumerate(zip(pieces, ends)):
        before = starts.get(starts[end], order[0] - 1)
        picks, carries = _step(graph, piece, starts[end], before)
        carried += carries
        own = {pick[:2]: pick for pick in picks if pick.entry == at}
        for dimension, pick in own.items():
            found.setdefault(dimension, []).append(pick)
    for (tensor, dim), steps in found.items():
        if len(steps) == len(pieces) == graph.size(tensor, dim):
            return Unrolled(tensor, dim, steps[0].call, carried >= len(pieces) - 1)
    return None


def _step(
    graph: Graph, piece: int, start: int, before: int
) -> tuple[list[_Pick], bool]:
    """The entries that the calls after `start` take to make a piece, and whether they
    take what was made between `before` and that."""
    picks, carries = list[_Pick](), False
    todo, seen = [piece], {piece}
    while todo and len(seen) <= _MOST:
        call = graph.producer(tensor := todo.pop())
        if not isinstance(call, FunctionCall):
            continue
        new = list(_picked(call, tensor))
        picks += new
        if new or call.index <= start:
            carries |= not new and call.index > before
            continue
        for ref in call.inputs:
            if ref.id not in seen:
                seen.add(ref.id)
                todo.append(ref.id)
    return picks, carries


def _picked(call: FunctionCall, tensor: int) -> Iterator[_Pick]:
    """The entry of a dimension that a call took, which the result lacks."""
    given, made = call.inputs[:1], call.outputs or ()
    if not given or kind(call.name) != "pick":
        return
    place = next(at for at, ref in enumerate(made) if ref.id == tensor)
    shape = given[0].shape
    if call.name == "unbind":
        told = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
        if type(told) is int and len(made) == shape[told]:
            yield _Pick(given[0].id, told % len(shape), place, call)
    elif call.name == "select" and len(call.args) == 3:
        _, dim, index = call.args
        if type(dim) is int and type(index) is int:
            dim %= len(shape)
            yield _Pick(given[0].id, dim, index % shape[dim], call)
    elif call.name == "getitem" and len(call.args) > 1:
        parts = call.args[1]
        parts = parts if isinstance(parts, tuple) else (parts,)
        if all(part == slice(None) or type(part) is int for part in parts):
            ints = [(dim, i) for dim, i in enumerate(parts) if type(i) is int]
            if len(ints) == 1:
                dim, index = ints[0]
                yield _Pick(given[0].id, dim, index % shape[dim], call)
