"""Views that took the batch, or too little, into a layer's features; a batch that a
convolution's input lost."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

from shapetrace.diagnosis.detect import Spot
from shapetrace.diagnosis.leaves import Leaf, changers
from shapetrace.diagnosis.plain import rank_changer
from shapetrace.diagnosis.rules.producers import spelled
from shapetrace.diagnosis.sites import culprit_of_call
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall

_CONVOLUTION = re.compile(r"conv(_transpose)?[123]d")


def regrouped_in(graph: Graph, found: tuple[Leaf, ...], right: Spot) -> Culprit | None:
    """A view that took part of the batch (or of another dimension) into this one."""
    for leaf in found:
        for hop in changers(leaf.hops):
            if hop.origin.how not in ("product", "split", "argument"):
                continue
            call = hop.call
            if not isinstance(call, FunctionCall) or not call.inputs:
                continue
            taken = [dim for _, dim in graph.source_ids(call, hop.origin)]
            size = graph.size(hop.tensor, hop.dim)
            if (
                0 in taken
                and len(taken) > 1
                and size == call.inputs[0].shape[0] * right.size
            ):
                return culprit_of_call(
                    graph,
                    call,
                    dim=hop.dim,
                    size=size,
                    expected=right.size,
                    reason=(
                        f"flattens the batch of {call.inputs[0].shape[0]} too; without"
                        f" it {right.size} would be left"
                    ),
                )
            if not call.direct:
                continue
            old, new = call.inputs[0].shape, graph.tensors[hop.tensor].shape
            if hop.dim > 0 and old and new and old[0] != new[0] and old[0] > 1:
                return culprit_of_call(
                    graph,
                    call,
                    dim=hop.dim,
                    size=graph.size(hop.tensor, hop.dim),
                    expected=right.size,
                    reason=(
                        f"makes {spelled(new)} of {spelled(old)}: it regroups the first"
                        " dimension"
                    ),
                )
            return None
    return None


def batch_joined(graph: Graph, left: Spot, right: Spot) -> Culprit | None:
    """A flatten that took the batch among the features, which would fit without it."""
    assert left.tensor is not None and left.dim is not None
    todo = [(left.tensor, left.dim)]
    while todo:
        trail = graph.trail(*todo.pop())
        origin = trail.end.origin
        if trail.end.kind != "branch" or origin is None or trail.end.call is None:
            continue
        if origin.how == "sum":
            todo += trail.end.sources
            continue
        for source in trail.end.sources:
            fits = graph.size(*source) * right.size == left.size
            if fits and source[1] == 0 and graph.trail(*source).end.kind == "data":
                size = graph.size(trail.end.tensor, trail.end.dim)
                reason = f"takes the batch of {graph.size(*source)} into the {size}"
                return culprit_of_call(
                    graph, trail.end.call, dim=trail.end.dim, size=size, reason=reason
                )
    return None


def flat_too_late(graph: Graph, left: Spot, right: Spot) -> Culprit | None:
    """A flatten that left a dimension which with the others makes the wanted size."""
    assert left.tensor is not None
    shape = graph.tensors[left.tensor].shape
    call = graph.producer(left.tensor)
    if len(shape) < 3 or prod(shape[1:]) != right.size or call is None:
        return None
    if not call.inputs or len(call.inputs[0].shape) <= len(shape):
        return None
    before = spelled(call.inputs[0].shape)
    reason = f"makes {spelled(shape)} of {before}; from dim 1 on it is {right.size}"
    return culprit_of_call(
        graph, call, dim=left.dim, size=left.size, expected=right.size, reason=reason
    )


def unbatched(graph: Graph, call: FunctionCall) -> Culprit | None:
    """Whoever dropped a dimension of what a convolution takes for one sample without a
    batch: the channels, which do not fit, stand for the batch."""
    if not _CONVOLUTION.fullmatch(call.name) or not call.inputs:
        return None
    rank = int(call.name[-2]) + 1
    shape = call.inputs[0].shape
    dropped = rank_changer(graph, call.inputs[0].id, more=False)
    if len(shape) != rank or dropped is None:
        return None
    alone = f"{call.name} takes {spelled(shape)} for one sample without a batch"
    return replace(dropped, reason=f"{dropped.reason}; {alone}")
