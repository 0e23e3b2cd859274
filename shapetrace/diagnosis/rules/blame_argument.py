"""Blame where a number among the arguments disagrees with a tensor."""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.leaves import Leaf, changers, leaves
from shapetrace.diagnosis.rules.blame_layer import blame_layer
from shapetrace.diagnosis.rules.producers import producers, spelled
from shapetrace.diagnosis.sites import culprit_of_call, culprit_of_data, owner
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall


def blame_argument(
    graph: Graph, problem: Mismatch, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """A number among the arguments (`expand(-1, 40)`) against a tensor: a table that a
    module holds and that is too short, else the function that asks for it."""
    asks = culprit_of_call(
        graph,
        problem.call,
        dim=left.dim,
        size=left.size,
        expected=right.size,
        reason=f"asks for {right.size}",
    )
    if left.tensor is None or left.dim is None:
        return [asks]
    table = next(
        (
            ref
            for ref in problem.call.inputs
            if graph.is_parameter(ref.id) and ref.shape == (right.size,)
        ),
        None,
    )
    if table is not None:
        # the number is the size of a weight: a normalisation's own
        held = Spot(table.id, 0, right.size, right.role)
        return blame_layer(graph, problem, left, held)
    found = leaves(graph, left.tensor, left.dim)
    grouped = _first_regrouped(graph, found, right.size)
    if grouped is not None:
        return [grouped, asks, *producers(graph, found, left, right)]
    end = graph.trail(left.tensor, left.dim).end
    holder = owner(graph, end.tensor) if end.kind == "parameter" else None
    if holder is None:
        return [asks, *producers(graph, found, left, right)]
    short = Culprit(
        "module",
        holder,
        left.dim,
        left.size,
        right.size,
        problem.call.source,
        f"holds a table of {left.size}, {right.size} are asked for",
    )
    given = [
        culprit_of_data(graph, ref.id, dim=dim, size=size, reason=f"has {size} there")
        for root in graph.rec.calls[:1]
        for ref in root.inputs
        for dim, size in enumerate(ref.shape)
        if size == right.size and not graph.from_model(ref.id)
    ]
    return [short, *given[:1], asks]


def _first_regrouped(
    graph: Graph, found: tuple[Leaf, ...], wanted: int
) -> Culprit | None:
    """A view of the user's that made another first dimension of one of `wanted`."""
    for leaf in found:
        for hop in changers(leaf.hops):
            call = hop.call
            if not isinstance(call, FunctionCall) or not call.inputs or hop.dim != 0:
                continue
            old, new = call.inputs[0].shape, graph.tensors[hop.tensor].shape
            if call.direct and old[:1] == (wanted,) != new[:1]:
                return culprit_of_call(
                    graph,
                    call,
                    dim=0,
                    size=new[0],
                    expected=wanted,
                    reason=(
                        f"makes {spelled(new)} of {spelled(old)}: it regroups the first"
                        " dimension"
                    ),
                )
    return None
