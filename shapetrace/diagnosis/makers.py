"""Who made a size, factor by factor; shared by the rules of blame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.problem import Spot
from shapetrace.diagnosis.suspects import (
    Leaf,
    changers,
    is_uneven,
    leaves,
    of_call,
    of_data,
    of_module,
    owner,
    remark,
    source_size,
    takes_shape,
)
from shapetrace.diagnosis.votes import odd_part
from shapetrace.lineage import Call, Graph
from shapetrace.records import Culprit, FunctionCall
from shapetrace.signatures import DimOrigin


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
        for hop in changers(graph, leaf.hops):
            how = hop.origin.how
            size = graph.size(hop.tensor, hop.dim)
            expected = None
            if len(found) == 1 and size == left.size and right.size > 0:
                expected = right.size
            if how == "window":
                if is_uneven(graph, hop):
                    odd.append(
                        of_call(
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
                of_call(
                    graph,
                    hop.call,
                    dim=hop.dim,
                    size=size,
                    expected=expected,
                    reason=f"makes the {size}{remark(hop.origin)}",
                )
            )
            if how == "sum":
                culprits += part_of_sum(graph, hop.call, hop.origin, right)[0]
        if leaf.end.kind == "data":
            data.append(
                of_data(
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
    name = origin.name if origin is not None else "a parameter"
    return f"holds `{name}` with {leaf.size}"


def _of_like(graph: Graph, leaf: Leaf) -> list[Culprit]:
    """The `zeros_like` from which on a size was carried."""
    for hop in leaf.hops:
        if takes_shape(hop.call) and hop.origin.how == "same":
            reason = f"takes over the {graph.size(hop.tensor, hop.dim)} of its argument"
            return [of_call(graph, hop.call, dim=hop.dim, reason=reason)]
    return []


def part_of_sum(
    graph: Graph, call: Call, origin: DimOrigin, right: Spot
) -> tuple[list[Culprit], bool]:
    """Who made the one operand of a `cat` that should have another size so that the sum
    fits, and whether there is evidence for it beyond the sum."""
    parts = _parts(graph, graph.source_ids(call, origin))
    total = sum(graph.size(*part) for part in parts)
    odd = odd_part(graph, parts, right.size)
    if odd is not None:
        part, wanted, evidence = odd
    else:
        could = [
            part
            for part in parts
            if 0 < right.size - (total - graph.size(*part)) != graph.size(*part)
        ]
        if len(could) != 1:
            return [], False
        part, evidence = could[0], ""
        wanted = right.size - (total - graph.size(*part))
    spot = Spot(*part, graph.size(*part))
    made = producers(graph, leaves(graph, *part), spot, Spot(None, None, wanted))
    if made and evidence:
        made[0] = replace(made[0], reason=f"{made[0].reason}; {evidence}")
    return made, bool(evidence)


def _parts(
    graph: Graph, sources: tuple[tuple[int, int], ...]
) -> list[tuple[int, int]]:
    """The sizes of a sum; where one is itself a sum, those that it is of."""
    found = []
    for source in sources:
        end = graph.trail(*source).end
        if end.kind == "branch" and end.origin is not None and end.origin.how == "sum":
            found += _parts(graph, end.sources)
        else:
            found.append(source)
    return found


def enclosing(graph: Graph, call: FunctionCall, reason: str) -> Iterable[Culprit]:
    module = graph.module_of(call)
    if module is not None:
        yield of_module(module, reason=reason)


def holds(graph: Graph, spot: Spot) -> bool:
    return spot.tensor is not None and graph.is_parameter(spot.tensor)


def spelled(shape: tuple[int, ...]) -> str:
    return (
        "("
        + ", ".join(str(size) for size in shape)
        + ("," if len(shape) == 1 else "")
        + ")"
    )
