"""What the layers around say of a width: who takes the old size, who the new one; and
of what a layer made smaller that it was brought back."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.expected import sizes_asked, waiting
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.patterns.handed_on import handed_on
from shapetrace.diagnosis.patterns.similar_modules import few, take
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.sizes.layer_widths import takes
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import sides as loss_sides
from shapetrace.records import ModuleInfo
from shapetrace.signatures import is_loss


def neighbours(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """The strongest of what the other layers say to the old and the new size."""
    if hypothesis.form == "omit" and hypothesis.repair is None:
        return _brought_back(hypothesis, case)
    if hypothesis.form not in ("width", "intake", "parameter"):
        return None
    old, new = hypothesis.size, hypothesis.expected
    name = hypothesis.site.name
    if old is None or new is None:
        return None
    facts = list(_facts(hypothesis, case, name, old, new))
    return max(facts, key=lambda fact: fact.strength, default=None)


def _brought_back(hypothesis: Hypothesis, case: Case) -> Fact | None:
    for found in handed_on(case):
        if found.maker.name == hypothesis.site.name:
            text = (
                "the other side went through it too, and was brought back to its size"
            )
            return Fact("the other side was brought back", text=text)
    return None


def _facts(
    hypothesis: Hypothesis, case: Case, name: str, old: int, new: int
) -> Iterator[Fact]:
    graph = case.graph
    if hypothesis.form == "width":
        yield from _other_side_taken(case, name, new)
    waits = waiting(graph)
    if hypothesis.form == "width" and waits:
        asked = sizes_asked(case.call)[1:] if case.mismatch.kind == "numel" else ()
        for other, size in waits.items():
            if size in asked:
                said = graph.said(other)
                text = f"`{said}` takes the {size} of the view, and was not reached"
                yield Fact("what follows takes the new size", 1.0, text)
        takers = [other for other, size in waits.items() if size == new]
        if takers and old not in waits.values():
            text = f"{few(case.graph, takers)}, not reached yet, {take(takers)} {new}"
            yield Fact("what follows takes the new size", 1.5, text)
    both = {name}
    if case.layer is not None:
        both.add(case.layer.name)
    wide, fit = widths(graph, both, old), widths(graph, both, new)
    if fit and not wide:
        text = (
            f"{new} is a width of {few(case.graph, fit)} too, {old} of no other layer"
        )
        yield Fact("the new size is known", 1.0, text)
    if wide and not fit:
        text = (
            f"{old} is a width of {few(case.graph, wide)} too, {new} of no other layer"
        )
        yield Fact("the old size is known", 1.0, text)


def _other_side_taken(case: Case, name: str, new: int) -> Iterator[Fact]:
    """The width of the layer on the other side, as a loss took it before."""
    for spot in case.mismatch.spots:
        if spot.tensor is None or spot.dim is None or spot.size != new:
            continue
        other = case.site_of_size(spot.tensor, spot.dim)
        if other.kind != "module" or other.name == name:
            continue
        for loss in _losses_that_took(case, other.name, new):
            text = (
                f"`{loss}` took the {new} of `{case.graph.said(other.name)}` before it"
            )
            yield Fact("others took the new size", 2.0, text)


def _losses_that_took(case: Case, name: str, size: int) -> Iterator[str]:
    """The losses that went through with a prediction as wide as a layer made it."""
    site = case.site_named(name)
    for call in case.graph.rec.functions:
        if not is_loss(call.name) or call.outputs is None:
            continue
        prediction, _ = loss_sides(case.graph, call)
        if prediction is None or size not in prediction.shape:
            continue
        dim = prediction.shape.index(size)
        hops = case.graph.trail(prediction.id, dim).hops
        if any(site_of_call(case.graph, hop.call).key == site.key for hop in hops):
            yield call.name


def gives(info: ModuleInfo) -> int | None:
    """How many features or channels a layer gives."""
    attributes = info.attributes
    for key in ("out_features", "out_channels", "hidden_size", "embedding_dim"):
        if isinstance(attributes.get(key), int):
            return int(attributes[key])
    return None


def widths(graph: Graph, but: set[str], size: int) -> list[str]:
    """The layers that take or give a size, but for those at odds."""
    return [
        name
        for name, info in graph.rec.modules.items()
        if name not in but and size in (takes(info), gives(info))
    ]
