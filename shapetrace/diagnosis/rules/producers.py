"""Who made a size, factor by factor; shared by the rules of blame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.detect import Spot
from shapetrace.diagnosis.leaves import Leaf, changers, leaves
from shapetrace.diagnosis.rules.parts import Part, parts
from shapetrace.diagnosis.rules.suspects import is_uneven, remark, source_size
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
    owner,
    takes_shape,
)
from shapetrace.lineage import Graph, Hop
from shapetrace.records import Culprit, FunctionCall


def producers(
    graph: Graph, found: tuple[Leaf, ...], left: Spot, right: Spot
) -> list[Culprit]:
    """Who made a size, per factor: the layer whose width it is, the window that is
    uneven, the function, the data."""
    culprits: list[Culprit] = []
    odd: list[Culprit] = []
    data: list[Culprit] = []
    for leaf in found:
        culprits += _of_like(graph, leaf)
        for hop in changers(leaf.hops):
            how = hop.origin.how
            size = graph.size(hop.tensor, hop.dim)
            expected = None
            if len(found) == 1 and size == left.size and right.size > 0:
                expected = right.size
            if how == "window":
                if is_uneven(graph, hop):
                    odd.append(
                        culprit_of_call(
                            graph,
                            hop.call,
                            dim=hop.dim,
                            size=size,
                            reason=f"gives {size}{remark(hop.origin)}",
                        )
                    )
                continue
            if not hop.call.inputs:
                continue  # a factory: named as data below
            if how == "product" and source_size(graph, hop) == size:
                continue  # it joins nothing but ones to it
            culprits.append(
                culprit_of_call(
                    graph,
                    hop.call,
                    dim=hop.dim,
                    size=size,
                    expected=expected,
                    reason=f"makes the {size}{remark(hop.origin)}",
                )
            )
            if how == "sum":
                culprits += of_parts(graph, hop, right.size)
        if leaf.end.kind == "data":
            data.append(
                culprit_of_data(
                    graph,
                    leaf.end.tensor,
                    dim=leaf.end.dim,
                    size=graph.size(leaf.end.tensor, leaf.end.dim),
                    reason=f"has {graph.size(leaf.end.tensor, leaf.end.dim)} there",
                )
            )
        elif leaf.end.kind == "parameter":
            name = owner(graph, leaf.end.tensor)
            if name is not None and not any(c.name == name for c in culprits):
                culprits.append(
                    Culprit(
                        "module",
                        name,
                        leaf.end.dim,
                        graph.size(leaf.end.tensor, leaf.end.dim),
                        reason=_holding(graph, leaf),
                    )
                )
    windows = any(hop.origin.how == "window" for leaf in found for hop in leaf.hops)
    if len(found) > 1 and windows:
        return data + odd + culprits
    return culprits + odd + data


def _holding(graph: Graph, leaf: Leaf) -> str:
    origin = graph.origin(leaf.end.tensor)
    name = f"`{graph.said(origin.name)}`" if origin is not None else "a parameter"
    return f"holds {name} with {leaf.size}"


def _of_like(graph: Graph, leaf: Leaf) -> list[Culprit]:
    """The `zeros_like` from which on a size was carried."""
    for hop in leaf.hops:
        if takes_shape(hop.call) and hop.origin.how == "same":
            reason = f"takes over the {graph.size(hop.tensor, hop.dim)} of its argument"
            return [culprit_of_call(graph, hop.call, dim=hop.dim, reason=reason)]
    return []


def of_parts(graph: Graph, hop: Hop, wanted: int) -> list[Culprit]:
    """Who made the part of a sum (`cat`) with another size of which it would fit."""
    found = parts(graph, hop, wanted)
    return of_part(graph, found[0]) if found else []


def of_part(graph: Graph, part: Part) -> list[Culprit]:
    """Who made one part of a sum."""
    tensor, dim = part.source
    spot = Spot(tensor, dim, part.size)
    made = producers(
        graph, leaves(graph, tensor, dim), spot, Spot(None, None, part.wanted)
    )
    if made and part.evidence:
        made[0] = replace(made[0], reason=f"{made[0].reason}; {part.evidence}")
    return made


def enclosing(graph: Graph, call: FunctionCall, reason: str) -> Iterable[Culprit]:
    module = graph.module_of(call)
    if module is not None:
        yield culprit_of_module(module, reason=reason)


def holds(graph: Graph, spot: Spot) -> bool:
    return spot.tensor is not None and graph.is_parameter(spot.tensor)


def spelled(shape: tuple[int, ...]) -> str:
    return (
        "("
        + ", ".join(str(size) for size in shape)
        + ("," if len(shape) == 1 else "")
        + ")"
    )
