"""A tensor of a loss that is neither prediction nor target: weights, a variance."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.diagnosis.detect import Spot
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.rules.blame_leaves import of_leaf
from shapetrace.diagnosis.sites import culprit_of_data, owner
from shapetrace.lineage import Graph
from shapetrace.records import Culprit


def blame_third(graph: Graph, left: Spot, right: Spot) -> list[Culprit]:
    """Class weights, a variance, a second embedding: its makers before the others'."""
    if left.dim is None or right.dim is None:
        return _of_rank(graph, left, right)
    found: list[Culprit] = []
    for spot, other in ((right, left), (left, right)):
        if spot.tensor is None or spot.dim is None:
            continue
        holder = owner(graph, spot.tensor)
        if holder is not None:
            origin = graph.origin(spot.tensor)
            name = origin.name.rpartition(".")[2] if origin is not None else ""
            reason = f"holds `{name}` of {spot.size}"
            held = Culprit(
                "module", holder, spot.dim, spot.size, other.size, reason=reason
            )
            found.append(held)
        for leaf in leaves(graph, spot.tensor, spot.dim):
            found += of_leaf(graph, leaf, spot.size, other.size, target=False)
        if not found and not graph.from_model(spot.tensor):
            found.append(
                culprit_of_data(graph, spot.tensor, dim=spot.dim, size=spot.size)
            )
    ids = [spot.tensor for spot in (right, left) if spot.tensor is not None]
    shapes = [graph.tensors[tensor].shape for tensor in ids]
    if found and len(shapes) == 2 and len(shapes[0]) > len(shapes[1]):
        note = f"{shapes[0]} has a dimension of {right.size} that {shapes[1]} has not"
        found[0] = replace(found[0], reason=f"{found[0].reason}; {note}")
    return found


def _of_rank(graph: Graph, left: Spot, right: Spot) -> list[Culprit]:
    """The wrong number of dimensions, as such."""
    odd = right if right.tensor is not None else left
    wanted = left if odd is right else right
    if odd.tensor is None:
        return []
    shape = graph.tensors[odd.tensor].shape
    reason = f"has shape {shape}; {wanted.size}-D is wanted"
    for dim in range(len(shape)):
        for leaf in leaves(graph, odd.tensor, dim):
            if leaf.end.kind == "parameter":
                made = of_leaf(graph, leaf, shape[dim], None, target=False)[:1]
                return [replace(culprit, reason=reason) for culprit in made]
    return [culprit_of_data(graph, odd.tensor, size=len(shape), reason=reason)]
