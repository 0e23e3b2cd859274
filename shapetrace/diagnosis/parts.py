"""The parts of a joined size (`cat`), and which of them should be another."""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.diagnosis.suspects import owner
from shapetrace.diagnosis.votes import usual
from shapetrace.lineage import End, Graph, Hop


class Part(NamedTuple):
    """One operand's dimension, its size, and the size with which the sum would fit."""

    source: tuple[int, int]
    size: int
    wanted: int
    #: what tells that this is the one
    evidence: str = ""


def parts(graph: Graph, hop: Hop, wanted: int) -> list[Part]:
    """The parts that could have another size, the likeliest first: one unlike those in
    its place in other blocks, then one that would be as wide as another part. A layer
    that made several parts has them all changed."""
    sources = graph.source_ids(hop.call, hop.origin)
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
        found.append(Part(source, size, fits, evidence))
    found.sort(key=lambda part: (not part.evidence, part.wanted not in sizes))
    return found


def _maker(graph: Graph, end: End) -> str | None:
    """The layer whose width a part is."""
    return owner(graph, end.tensor) if end.kind == "parameter" else None
