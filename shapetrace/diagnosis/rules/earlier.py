"""The same layer that went well before: what was different about its input then."""

from __future__ import annotations

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.rules.producers import holds, producers
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, Source


def taken_before(
    graph: Graph, problem: Mismatch, right: Spot
) -> tuple[int, int] | None:
    """The input, and its dimension, with which the same layer went well before: what it
    takes is then no mistake of its own."""
    if problem.layer is None or not holds(graph, right):
        return None
    for call in graph.rec.functions:
        layer = graph.layer_of(call)
        if layer is None or layer.name != problem.layer.name or call.outputs is None:
            continue
        if call.name == problem.call.name and call.inputs:
            shape = call.inputs[0].shape
            dim = -1 if call.name == "linear" else min(1, len(shape) - 1)
            if shape and shape[dim] == right.size:
                return call.inputs[0].id, dim % len(shape)
    return None


def changed_part(graph: Graph, left: Spot, earlier: tuple[int, int]) -> list[Culprit]:
    """Of what was joined to the input, the one part that had another size when the
    layer took it before."""
    assert left.tensor is not None and left.dim is not None
    now, then = graph.trail(left.tensor, left.dim).end, graph.trail(*earlier).end
    if now.kind != "branch" or then.kind != "branch":
        return []
    pairs = [
        (source, graph.size(*source), graph.size(*other))
        for source, other in zip(now.sources, then.sources)
        if graph.size(*source) != graph.size(*other)
    ]
    if len(pairs) != 1 or len(now.sources) != len(then.sources):
        return []
    source, size, before = pairs[0]
    spot, wanted = Spot(*source, size), Spot(None, None, before)
    return producers(graph, leaves(graph, *source), spot, wanted)[:1]


def kept_from(graph: Graph, problem: Mismatch, tensor: int) -> Source | None:
    """Where a tensor was made in an earlier call of the model and kept since, as the
    state of a recurrent layer is; None for what this call made or was given."""
    made, top = graph.producer(tensor), problem.layer
    if made is None or made.parent is None or top is None:
        return None
    while top.parent is not None:
        top = graph.rec.calls[top.parent]
    return made.source if made.order < top.order else None
