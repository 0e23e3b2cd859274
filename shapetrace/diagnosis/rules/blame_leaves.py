"""Who made one factor of a size, and which step on its way took the wrong one."""

from __future__ import annotations

from shapetrace.diagnosis.leaves import Leaf, changers
from shapetrace.diagnosis.rules.suspects import is_uneven, remark, source_size
from shapetrace.diagnosis.sites import culprit_of_call, culprit_of_data
from shapetrace.lineage import Graph, Hop
from shapetrace.records import Culprit, FunctionCall, TensorRef


def of_leaf(
    graph: Graph, leaf: Leaf, size: int, expected: int | None, *, target: bool
) -> list[Culprit]:
    """Who made one factor: newest first, the data last."""
    found: list[Culprit] = []
    for hop in changers(leaf.hops):
        if not hop.call.inputs:
            continue
        made = graph.size(hop.tensor, hop.dim)
        if hop.origin.how == "window" and not is_uneven(graph, hop):
            continue
        found.append(
            culprit_of_call(
                graph,
                hop.call,
                dim=hop.dim,
                size=made,
                expected=expected if made == size else None,
                reason=f"makes the {made}{remark(hop.origin)}",
            )
        )
    if leaf.end.kind == "parameter":
        # the width of a layer outweighs the reshapes that carried it on
        layers = [culprit for culprit in found if culprit.kind == "module"]
        return layers[:1] + [culprit for culprit in found if culprit not in layers[:1]]
    if leaf.end.kind == "data":
        came = graph.size(leaf.end.tensor, leaf.end.dim)
        found.append(
            culprit_of_data(
                graph,
                leaf.end.tensor,
                target=target,
                dim=leaf.end.dim,
                size=came,
                reason=f"comes in with {came}",
            )
        )
    return found


def moved_batch(graph: Graph, mine: Leaf, other: Leaf) -> Culprit | None:
    """The prediction's batch is another dimension of the data, whose own batch fits the
    target: an index or a transposition took the wrong one (`out[-1]`, `out[:, -1]`)."""
    end = mine.end
    if end.kind != "data" or end.dim == 0 or not graph.tensors[end.tensor].shape:
        return None
    if graph.size(end.tensor, 0) != other.size or other.size == mine.size:
        return None
    for hop in mine.hops:
        call = hop.call
        if hop.origin.how == "product":
            return None  # joined with others, a batch of one among them
        source = graph.source_ids(call, hop.origin)
        if source and source[0][1] != hop.dim:
            if not isinstance(call, FunctionCall) or not call.direct:
                return None
            size = graph.size(hop.tensor, hop.dim)
            return culprit_of_call(
                graph,
                call,
                dim=hop.dim,
                size=size,
                expected=other.size,
                reason=(
                    f"puts dim {source[0][1]} of {call.inputs[0].shape}, the"
                    f" {size}, where the batch of {other.size} should be"
                ),
            )
    return None


def odd_window(graph: Graph, windows: list[Hop]) -> Hop | None:
    """Of the convolutions and poolings behind a size, the oldest that did not scale by
    a whole number: an encoder and its decoder part there."""
    before = [source_size(graph, hop) for hop in windows]
    after = [graph.size(hop.tensor, hop.dim) for hop in windows]
    undone: set[int] = set()
    for newer, made in enumerate(after):
        for older in range(newer + 1, len(before)):
            if before[older] == made:  # padded, then cut back by a convolution
                undone.update(range(newer, older + 1))
    uneven = [
        hop
        for place, hop in enumerate(windows)
        if place not in undone and is_uneven(graph, hop)
    ]
    return uneven[-1] if uneven else None


def stacked(graph: Graph, mine: Leaf, target: TensorRef, wanted: int) -> Culprit | None:
    """Tensors that the user stacked in front of the batch, which the target counts in
    another dimension."""
    for call in [hop.call for hop in mine.hops] + [mine.end.call]:
        if not isinstance(call, FunctionCall) or call.name != "stack":
            continue
        if not call.direct or mine.size not in target.shape[1:]:
            continue
        at = target.shape.index(mine.size, 1)
        reason = (
            f"puts its {mine.size} tensors in dim 0, where the batch of {wanted} is"
            f" wanted; the target has the {mine.size} in dim {at}"
        )
        return culprit_of_call(
            graph, call, dim=0, size=mine.size, expected=wanted, reason=reason
        )
    return None
