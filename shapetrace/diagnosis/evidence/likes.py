"""What modules that are alike have: the same place in the other blocks of a stack,
query beside key and value."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.similar_modules import (
    few,
    have,
    is_apart,
    is_unlike,
    likes_of,
    peers,
    settings,
)
from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo, TensorRef


def likes(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the changed module would be as its like are, or is so already."""
    if hypothesis.repair is None or not hypothesis.repair.modules:
        return None
    (name, new), *_ = hypothesis.repair.modules.items()
    old = case.graph.rec.modules[name]
    if hypothesis.form == "window":
        return _settings(case.graph, old, new)
    best: Fact | None = None
    for path, dim, before, after in _changed(old, new):
        for group in peers(case.graph, name, path, dim):
            found = set(group.values())
            names = list(group)
            if found == {after}:
                text = f"{few(names)}, its like, {have(names)} {after} instead"
                fact = Fact("as its like have", min(len(names), 3), text)
            elif found == {before}:
                text = f"{few(names)}, its like, {have(names)} {before} too"
                fact = Fact("unlike its like", min(len(names), 3), text)
            elif before not in found and after in found:
                fact = Fact("as some of its like", 1.0)
            else:
                continue
            if best is None or fact.strength > best.strength:
                best = fact
    return best


def _settings(graph: Graph, old: ModuleInfo, new: ModuleInfo) -> Fact | None:
    """The same for strides and paddings."""
    group = likes_of(graph, old.name)
    if not group:
        return None
    now = [one for one in group if settings(one) == settings(new)]
    names = [one.name for one in now]
    if now and len(now) == len(group):
        text = f"{few(names)}, its like, {have(names)} that"
        return Fact("as its like have", min(len(now), 3), text)
    if now and is_apart(graph, old.name):
        return Fact("as some of its like", 2.0)
    same = [one for one in group if settings(one) == settings(old)]
    if len(same) == len(group):
        return Fact("unlike its like", min(len(same), 3))
    return Fact("as some of its like", 1.0) if is_unlike(graph, old.name) else None


def _changed(old: ModuleInfo, new: ModuleInfo) -> list[tuple[str, int, int, int]]:
    """The dimensions of a module's tensors that a change makes others: path, dimension,
    size before and after."""
    theirs: dict[str, TensorRef] = {
        ref.path: ref for ref in (*new.parameters, *new.buffers)
    }
    found = []
    for ref in (*old.parameters, *old.buffers):
        now = theirs.get(ref.path)
        if now is None or len(now.shape) != len(ref.shape):
            continue
        for dim, (before, after) in enumerate(zip(ref.shape, now.shape)):
            if before != after:
                found.append((ref.path, dim, before, after))
    return found
