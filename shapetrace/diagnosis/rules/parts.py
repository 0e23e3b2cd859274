"""The parts of a joined size (`cat`), and which of them should be another."""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.diagnosis.rules.like_widths import having, usual
from shapetrace.diagnosis.similar_modules import few
from shapetrace.diagnosis.sites import owner
from shapetrace.lineage import End, Graph, Hop


class Part(NamedTuple):
    """One operand's dimension, its size, and the size with which the sum would fit."""

    source: tuple[int, int]
    size: int
    wanted: int
    #: what tells that this is the one
    evidence: str = ""
    #: whether that is the like of its layer, not the widths of the model alone
    firm: bool = False


def parts(graph: Graph, hop: Hop, wanted: int) -> list[Part]:
    """The parts that could have another size, the likeliest first: one unlike those in
    its place in other blocks, then one that would be as wide as another part. A layer
    that made several parts has them all changed."""
    sources = _flat(graph, graph.source_ids(hop.call, hop.origin))
    sizes = [graph.size(*source) for source in sources]
    total = graph.size(hop.tensor, hop.dim)
    ends = [graph.trail(*source).end for source in sources]
    makers = [_maker(graph, end) for end in ends]
    found: list[Part] = []
    for at, (source, size, name) in enumerate(zip(sources, sizes, makers)):
        if name is not None and name in makers[:at]:
            continue
        count = 1
        if name is not None:
            count = sum(
                one == name and other == size for one, other in zip(makers, sizes)
            )
        fits, rest = divmod(wanted - (total - count * size), count)
        if rest or fits < 1 or fits == size:
            continue
        told = None if name is None else usual(graph, ends[at].tensor, ends[at].dim)
        evidence = told[1] if told is not None and told[0] == fits else ""
        found.append(Part(source, size, fits, evidence, bool(evidence)))
    lone = [part for part in found if not part.evidence and _is_lone(graph, part)]
    if len(lone) == 1 and not any(part.evidence for part in found):
        at = found.index(lone[0])
        found[at] = lone[0]._replace(evidence=_is_lone(graph, lone[0]))
    found.sort(key=lambda part: (not part.evidence, part.wanted not in sizes))
    return found


def _maker(graph: Graph, end: End) -> str | None:
    """The layer whose width a part is."""
    return owner(graph, end.tensor) if end.kind == "parameter" else None


def _is_lone(graph: Graph, part: Part) -> str:
    """What tells that a part's size is the width of no other layer, and that the one
    which would fit is."""
    end = graph.trail(*part.source).end
    name = _maker(graph, end)
    if name is None or graph.size(end.tensor, end.dim) != part.size:
        return ""
    fit = having(graph, part.wanted, {name: 0})
    if not fit or having(graph, part.size, {name: 0}):
        return ""
    return (
        f"{part.wanted} is a width of {few(graph, fit)}, {part.size} of no other layer"
    )


def _flat(graph: Graph, sources: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The sizes of a sum; where one is itself a sum, those that it is of."""
    found = []
    for source in sources:
        end = graph.trail(*source).end
        if end.kind == "branch" and end.origin is not None and end.origin.how == "sum":
            found += _flat(graph, end.sources)
        else:
            found.append(source)
    return found
