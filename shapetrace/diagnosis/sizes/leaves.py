"""The factors of a size, and who made each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.diagnosis.hypothesis import Hypothesis, Site
from shapetrace.diagnosis.sites import (
    is_loaded,
    site_of_data,
    site_of_maker,
)
from shapetrace.diagnosis.sizes.factory_size import sized_from
from shapetrace.lineage import End, Graph, Hop
from shapetrace.records import FunctionCall


class Leaf(NamedTuple):
    """One factor of a size: its own size, the hops behind it, and where it begins."""

    size: int
    hops: tuple[Hop, ...]
    end: End


def leaves(graph: Graph, tensor: int, dim: int, deep: int = 8) -> tuple[Leaf, ...]:
    """The factors of a size. A sum (`cat`) stays whole: only products are resolved."""
    trail = graph.trail(tensor, dim)
    end = trail.end
    asked = sized_from(graph, end) if deep else None
    if asked is not None:
        inner = leaves(graph, *asked, deep - 1)
        return tuple(leaf._replace(hops=trail.hops + leaf.hops) for leaf in inner)
    product = end.kind == "branch" and end.origin and end.origin.how != "sum"
    if not product or not deep:
        return (Leaf(graph.size(tensor, dim), trail.hops, end),)
    return tuple(
        leaf._replace(hops=trail.hops + leaf.hops)
        for source in end.sources
        for leaf in leaves(graph, *source, deep - 1)
    )


def every_part(graph: Graph, tensor: int, dim: int) -> Iterator[Leaf]:
    """The factors of a size, and those of the parts of a sum."""
    todo = [(tensor, dim)]
    seen = set(todo)
    while todo:
        for leaf in leaves(graph, *todo.pop()):
            yield leaf
            end = leaf.end
            if end.kind == "branch" and end.origin and end.origin.how == "sum":
                more = [at for at in end.sources if at not in seen]
                seen.update(more)
                todo += more


def counts_samples(graph: Graph, hops: tuple[Hop, ...], end: End) -> bool:
    """Whether a size is the first of data's; not where samples were put together
    behind it, as a loader does: then it is the first of one sample's own."""
    return (
        end.kind == "data"
        and end.dim == 0
        and not any(_puts_together(graph, hop) for hop in hops)
    )


def _puts_together(graph: Graph, hop: Hop) -> bool:
    call = hop.call
    if not isinstance(call, FunctionCall) or call.parent is not None:
        return False
    return call.name == "stack" and hop.dim > 0 and not graph.from_model(hop.tensor)


def changers(hops: tuple[Hop, ...]) -> list[Hop]:
    """The hops that did something to the size, newest first."""
    return [hop for hop in hops if _changes(hop)]


def _changes(hop: Hop) -> bool:
    if hop.origin.how == "same":  # "the longest" of sequences that were padded
        return bool(hop.origin.note) and not hop.origin.note.startswith("probed")
    return hop.origin.how not in ("broadcast", "guess")


def makers(
    graph: Graph, leaf: Leaf, expected: int | None, *, target: bool = False
) -> Iterator[Hypothesis]:
    """Who made one factor, with no repair: the layer whose width it is, then newest
    first, the data last. `target`: data behind it is a loss's target."""
    found: list[Hypothesis] = []
    end = leaf.end
    for hops, hop in enumerate(changers(leaf.hops), 1):
        if not hop.call.inputs:
            continue
        scaled = ""
        if hop.origin.how == "window" and _even(graph, hop):
            scaled = rate_that_fits(graph, hop, leaf.size, expected)
            if not scaled:
                continue
        made = graph.size(hop.tensor, hop.dim)
        site = site_of_maker(graph, hop.call)
        if is_loaded(graph, hop.tensor):
            site = site_of_data(graph, hop.tensor, target=target)
        note = hop.origin.note
        note = f" ({note})" if note and not note.startswith("probed") else ""
        found.append(
            Hypothesis(
                "unknown",
                site,
                hops=hops,
                reason=scaled or f"makes the {made}{note}",
                dim=hop.dim,
                size=made,
                expected=expected if made == leaf.size else None,
            )
        )
    if end.kind == "parameter":
        # the width of a layer outweighs the reshapes that carried it on
        found.sort(key=lambda one: one.site.kind != "module")
    yield from found
    if end.kind in ("values", "new") and end.call is not None and end.call.inputs:
        reason = f"makes as many as its values say, {leaf.size} here"
        if end.kind == "new":
            note = end.origin.note if end.origin is not None else ""
            reason = f"makes the {leaf.size}" + (f" ({note})" if note else "")
        yield _beginning(leaf, site_of_maker(graph, end.call), reason, leaf.size)
    if end.kind == "data":
        came = graph.size(end.tensor, end.dim)
        site = site_of_data(graph, end.tensor, target=target)
        yield _beginning(leaf, site, f"comes in with {came}", came)


def _beginning(leaf: Leaf, site: Site, reason: str, size: int) -> Hypothesis:
    """Whoever a factor began with, named and no more."""
    dim, hops = leaf.end.dim, len(leaf.hops)
    return Hypothesis("unknown", site, hops=hops, reason=reason, dim=dim, size=size)


def rate_that_fits(graph: Graph, hop: Hop, size: int, expected: int | None) -> str:
    """What is said of a layer that makes a size larger by a whole number, where another
    whole number would make it the expected one; else nothing."""
    sources = graph.source_ids(hop.call, hop.origin)
    before = graph.size(*sources[0]) if len(sources) == 1 else 0
    after = graph.size(hop.tensor, hop.dim)
    if not before or after <= before or not size or not expected:
        return ""
    rate, rest = divmod(after * expected, before * size)
    if rest or not rate:
        return ""
    return f"makes {after} of {before}, {after // before} for each; {rate} would fit"


def _even(graph: Graph, hop: Hop) -> bool:
    """Whether a window (convolution, pooling) scaled by a whole number."""
    sources = graph.source_ids(hop.call, hop.origin)
    before = graph.size(*sources[0]) if len(sources) == 1 else 0
    after = graph.size(hop.tensor, hop.dim)
    return not before or not after or before % after == 0 or after % before == 0
