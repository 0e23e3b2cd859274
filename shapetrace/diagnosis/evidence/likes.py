"""What modules that are alike have: the same place in the other blocks of a stack,
query beside key and value."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.patterns.similar_modules import (
    few,
    have,
    likes_of,
    peers,
    settings,
)
from shapetrace.diagnosis.sites import site_of_data
from shapetrace.diagnosis.sizes.window_layers import whole
from shapetrace.lineage import Graph, Hop
from shapetrace.records import ModuleInfo, TensorRef

#: a change away from what all others of its kind have
UNLIKE = "a window unlike its like"
_BUILT = ("width", "intake", "parameter", "setting")


def likes(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the changed module would be as its like are, or is so already."""
    if hypothesis.repair is None or not hypothesis.repair.modules:
        return None
    modules = hypothesis.repair.modules
    # one line may build several: the one that it is about is compared with the others
    named = hypothesis.site.name
    name = named if named in modules else next(iter(modules))
    new = modules[name]
    old = case.graph.rec.modules[name]
    if hypothesis.form == "window":
        return _settings(case.graph, old, new)
    best: Fact | None = None
    for path, dim, before, after in _changed(old, new):
        for group in peers(case.graph, name, path, dim):
            found = set(group.values())
            names = list(group)
            if found == {after}:
                text = (
                    f"{few(case.graph, names)}, its like, {have(names)} {after} instead"
                )
                fact = Fact("as its like have", min(len(names), 3), text)
            elif found == {before}:
                text = f"{few(case.graph, names)}, its like, {have(names)} {before} too"
                fact = Fact("unlike its like", min(len(names), 3), text)
            else:
                continue
            if best is None or fact.strength > best.strength:
                best = fact
    return best


def _settings(graph: Graph, old: ModuleInfo, new: ModuleInfo) -> Fact | None:
    """The same for strides and paddings."""
    group = likes_of(graph, old.name) or _same_windows(graph, old)
    if not group:
        return None
    now = [one for one in group if settings(one) == settings(new)]
    names = [one.name for one in now]
    if now and len(now) == len(group):
        text = f"{few(graph, names)}, its like, {have(names)} that"
        return Fact("a window as its like have", min(len(now), 3), text)
    same = [one for one in group if settings(one) == settings(old)]
    if len(same) == len(group):
        return Fact(UNLIKE, min(len(same), 3))
    return None


def twin(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a layer that would be built for what it is given has a twin, in a module
    built as the one around it is, that was given what both expect: then it is this
    one that is called with something else."""
    rec, site = case.graph.rec, hypothesis.site
    if hypothesis.form != "intake" or site.kind != "module":
        return None
    around, _, own = site.name.rpartition(".")
    for other in rec.modules:
        inside, _, name = other.rpartition(".")
        if name != own or inside == around or not around or not inside:
            continue
        done = [one for one in case.replay.calls_of.get(other, ()) if one.outputs]
        if done and _built(case.graph, inside) == _built(case.graph, around):
            given = done[-1].inputs[0].shape if done[-1].inputs else ()
            text = f"`{case.graph.said(other)}`, its twin, is given {given}"
            return Fact("its twin took what it expects", text=text)
    return None


def _built(graph: Graph, name: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """The layers in a module with their parameters' shapes, by their names in it."""
    return [
        (info.name.removeprefix(f"{name}."), ref.path, ref.shape)
        for info in graph.rec.modules.values()
        if info.name.startswith(f"{name}.")
        for ref in info.parameters
    ]


def rounding(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a window (convolution, pooling) left a rest, or data has a size that one
    on its way does: what is halved and then doubled is not what it was."""
    site = hypothesis.site
    if site.kind == "input" and hypothesis.form in ("data", "unknown"):
        size = _rounded(case).get(site.key)
        if size is None:
            return None
        text = f"of its {size}, a layer leaves some over"
        return Fact("rounds its input", text=text)
    if hypothesis.form in _BUILT:  # other features, for the same places
        return None
    calls = case.replay.calls_of.get(site.name, ()) if site.kind == "module" else ()
    info = case.graph.rec.modules.get(site.name)
    if info is None or not calls or "kernel_size" not in info.attributes:
        return None
    call = calls[-1]
    if not call.inputs or not call.outputs:
        return None
    if whole(info.attributes.get("stride")) in (1, (1,), (1, 1), (1, 1, 1)):
        return None  # a window that goes from place to place leaves nothing over
    space = int(info.type[-2]) if info.type[-2:-1].isdigit() else 0
    pairs = list(zip(call.inputs[0].shape[-space:], call.outputs[0].shape[-space:]))
    if not space or any(min(pair) < 1 for pair in pairs):
        return None
    if any(a % b and b % a for a, b in pairs):
        return Fact("rounds its input", text="some of its input is left over")
    return Fact("scales by a whole number") if any(a != b for a, b in pairs) else None


@once
def _rounded(case: Case) -> dict[object, int]:
    """The data that both sides began in, where its size leaves a rest in a window on
    its way."""
    found: dict[object, int] = {}
    ends: set[tuple[int, int]] = set()
    for spot in case.mismatch.spots:
        if spot.tensor is None or spot.dim is None:
            return {}
        trail = case.graph.trail(spot.tensor, spot.dim)
        ends.add((trail.end.tensor, trail.end.dim))
        windows = [hop for hop in trail.hops if hop.origin.how == "window"]
        if trail.end.kind == "data" and any(_rests(case, hop) for hop in windows):
            site = site_of_data(case.graph, trail.end.tensor)
            found[site.key] = case.graph.size(trail.end.tensor, trail.end.dim)
    return found if len(ends) == 1 else {}


def _rests(case: Case, hop: Hop) -> bool:
    """Whether a window goes over its places in steps, and does not come out even."""
    sources = case.graph.source_ids(hop.call, hop.origin)
    before = case.graph.size(*sources[0]) if len(sources) == 1 else 0
    after = case.graph.size(hop.tensor, hop.dim)
    return 0 < 3 * after < 2 * before and before % after > 0


def waiting(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a layer that may be meant in another's place is called nowhere, and the
    other in its own place too."""
    repair = hypothesis.repair
    if repair is None or not repair.instead:
        return None
    calls_of = case.replay.calls_of
    other = next(iter(repair.instead.values()))
    if calls_of.get(other.name):
        return Fact("the layer that may be meant is called too")
    called = calls_of.get(hypothesis.site.name, ())
    if len(called) > len(repair.instead):
        text = f"`{case.graph.said(other.name)}` is never called, and this one twice"
        return Fact("the layer that may be meant waits, this one came", text=text)
    text = f"`{case.graph.said(other.name)}` is never called"
    return Fact("the layer that may be meant waits", text=text)


def _same_windows(graph: Graph, old: ModuleInfo) -> list[ModuleInfo]:
    """The other windows of the model with the same kernel and stride: a padding that is
    right for one of them is so for all."""
    keys = ("kernel_size", "stride")
    return [
        info
        for info in graph.rec.modules.values()
        if info.type == old.type
        and info.name != old.name
        and all(info.attributes.get(k) == old.attributes.get(k) for k in keys)
    ]


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
