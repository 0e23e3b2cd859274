"""Votes: what the rest of the model says when a layer and its input disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.diagnosis.likeness import beside, likes_of
from shapetrace.diagnosis.problem import Spot
from shapetrace.diagnosis.suspects import Leaf, owner
from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo

#: layers whose width is that of what goes in and comes out
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm", "SyncBatch")


def elect(
    graph: Graph, consumer: str, left: Spot, right: Spot, found: tuple[Leaf, ...]
) -> tuple[bool, str] | None:
    """Whether the producer of `left.size` is the odd one (True) or the consumer that
    wants `right.size` (False), with the evidence; None when nobody votes, or both.

    Voters: like modules of the same stack, normalisations between the two that took
    the size, and the layers that stand next to the consumer.
    """
    producer = _producer(graph, found)
    votes: list[tuple[int, str]] = []
    for name, odd in ((producer, True), (consumer, False)):
        if name is None:
            continue
        own = left.size if odd else right.size
        other = right.size if odd else left.size
        told = unlike(graph, name, own, other)
        if told:
            votes.append((2 if odd else -2, told))
    alike = _agrees(graph, producer), _agrees(graph, consumer)
    if producer is not None and alike == (False, True):
        votes.append((1, f"`{consumer}` is as in the other blocks"))
    elif alike == (True, False):
        votes.append((-1, f"`{producer}` is as in the other blocks"))
    for name, size in _next_widths(graph, consumer, (left.size, right.size)):
        if size == right.size and _is_norm(graph, consumer):
            votes.append((1, f"`{name}` behind it wants {size} too"))
        elif size == left.size and _is_norm(graph, consumer):
            votes.append((-1, f"`{name}` behind it wants {size}"))
        elif _beside(graph, name, consumer):
            weight = 1 if size == right.size else -1
            votes.append((weight, f"`{name}` beside it takes {size}"))
    wide = widths(graph, {consumer, producer}, left.size)
    fit = widths(graph, {consumer, producer}, right.size)
    if len(fit) > 1 and not wide:
        votes.append((1, f"{_few(fit)} take {right.size} too, none takes {left.size}"))
    elif len(wide) > 1 and not fit:
        votes.append((-1, f"{_few(wide)} take {left.size}, none takes {right.size}"))
    took = list(dict.fromkeys(_takers(graph, found, consumer, left.size)))
    took = [name for name in took if name != producer]
    if took:
        votes.append((-1, f"{_few(took)} took {left.size} before it"))
    total = sum(weight for weight, _ in votes)
    if total == 0 or total > 0 and producer is None:
        return None
    evidence = next(text for weight, text in votes if (weight > 0) == (total > 0))
    return total > 0, evidence


def _producer(graph: Graph, found: tuple[Leaf, ...]) -> str | None:
    """The layer whose width the size is, if one is."""
    if len(found) != 1 or found[0].end.kind != "parameter":
        return None
    return owner(graph, found[0].end.tensor)


def usual_width(graph: Graph, name: str, own: int) -> tuple[int, str] | None:
    """The width that the like of a module have, which has `own`, and what tells so."""
    for theirs in (*likes_of(graph, name), *beside(graph, name)):
        for size in {size for ref in theirs.parameters for size in ref.shape}:
            told = unlike(graph, name, own, size)
            if told:
                return size, told
    return None


def unlike(graph: Graph, name: str, own: int, other: int) -> str:
    """What tells that a module should have `other` where it has `own`: those in the
    same place of the other blocks do, or at least two beside it (query, key, value),
    and are like it in all else. "" where nothing tells."""
    info = graph.rec.modules.get(name)
    if info is None:
        return ""
    for likes, least in ((likes_of(graph, name), 1), (beside(graph, name), 2)):
        if any(_is_equal(info, theirs) for theirs in likes):
            return ""
        found = [theirs.name for theirs in likes if _differs(info, theirs, own, other)]
        if len(found) >= least:
            verb = "has" if len(found) == 1 else "have"
            return f"{_few(found)}, its like, {verb} {other} instead"
        for width in (gives, takes):
            if len(likes) > 1 and width(info) == own:
                if all(width(theirs) == other for theirs in likes):
                    names = [theirs.name for theirs in likes]
                    return f"{_few(names)}, its like, all have {other} instead"
    return ""


class Width(NamedTuple):
    """A layer's width, and what it would be if the size that meets another fitted."""

    name: str
    own: int
    other: int


def odd_of_two(
    graph: Graph, one: Width | None, two: Width | None
) -> tuple[bool, str] | None:
    """Of two layers whose widths meet, whether the first is the odd one, and what
    tells so."""
    first = "" if one is None else unlike(graph, *one)
    second = "" if two is None else unlike(graph, *two)
    if bool(first) == bool(second):
        return None
    return bool(first), first or second


def _is_equal(one: ModuleInfo, two: ModuleInfo) -> bool:
    return [p.shape for p in one.parameters] == [p.shape for p in two.parameters]


def _differs(mine: ModuleInfo, theirs: ModuleInfo, own: int, other: int) -> bool:
    """Whether two modules are alike but for one number: what goes in, or what comes
    out. Those that differ in both belong to blocks of another width."""
    own_shapes = {ref.path: ref.shape for ref in mine.parameters}
    dims = set()
    for ref in theirs.parameters:
        shape = own_shapes.get(ref.path, ())
        if len(shape) != len(ref.shape):
            return False
        for dim, (a, b) in enumerate(zip(shape, ref.shape)):
            if a != b:
                if (a, b) != (own, other):
                    return False
                dims.add((len(shape) > 1, dim))
    wide = {dim for many, dim in dims if many}
    return bool(dims) and len(wide) < 2


def _agrees(graph: Graph, name: str | None) -> bool:
    """Whether a module is just as one in the same place of another block."""
    info = graph.rec.modules.get(name or "")
    return info is not None and any(
        _is_equal(info, theirs) for theirs in likes_of(graph, info.name)
    )


def _is_norm(graph: Graph, name: str) -> bool:
    info = graph.rec.modules.get(name)
    return info is not None and info.type.startswith(_NORMS)


def _next_widths(
    graph: Graph, name: str, sizes: tuple[int, int]
) -> Iterator[tuple[str, int]]:
    """The first module defined after `name` that takes a width, if one of two."""
    names = list(graph.rec.modules)
    if name not in graph.rec.modules:
        return
    for candidate in names[names.index(name) + 1 :]:
        wants = takes(graph.rec.modules[candidate])
        if wants is None:
            continue
        if wants in sizes:
            yield candidate, wants
        return


def _beside(graph: Graph, one: str, two: str) -> bool:
    """Whether the same module holds both layers, and the first takes something else
    than the second gives: they stand side by side, not in a row."""
    first, second = graph.rec.modules[one], graph.rec.modules[two]
    if one.rpartition(".")[0] != two.rpartition(".")[0]:
        return False
    return gives(second) not in (None, takes(first))


def gives(info: ModuleInfo) -> int | None:
    """How many features or channels a layer gives."""
    attributes = info.attributes
    found = attributes.get("out_features", attributes.get("out_channels"))
    return found if isinstance(found, int) else None


#: what the layers of torch.nn, timm and transformers call the width that they take
_TAKES = ("in_features", "in_channels", "num_features", "input_size", "embed_dim")


def takes(info: ModuleInfo) -> int | None:
    """How many features or channels a layer takes; None where it takes any."""
    for key in _TAKES:
        value = info.attributes.get(key)
        if isinstance(value, int):
            return value
    weight = next((p for p in info.parameters if p.path == "weight"), None)
    if weight is None or info.type.startswith("Embedding"):
        return None
    if len(weight.shape) == 1 and not info.type.startswith(_NORMS):
        return None  # nn.PReLU, a scale
    return weight.shape[1] if len(weight.shape) > 1 else weight.shape[0]


def prefer(graph: Graph, a: int, b: int) -> int:
    """Which of two sizes the layers of the model take: 1 for the first, -1 for the
    second, 0 where it is not at least two to one."""
    takes_a, takes_b = (len(widths(graph, set(), size)) for size in (a, b))
    if takes_a > 2 * takes_b:
        return 1
    return -1 if takes_b > 2 * takes_a else 0


def widths(graph: Graph, but: set[str | None], size: int) -> list[str]:
    """The layers that take `size` features or channels, but for the two at odds."""
    return [
        name
        for name, info in graph.rec.modules.items()
        if name not in but and takes(info) == size
    ]


def _takers(
    graph: Graph, found: tuple[Leaf, ...], consumer: str, size: int
) -> Iterator[str]:
    """Normalisations on the way whose own width the size is; one that a dimension only
    passes by, as a height does, has no say in it."""
    for leaf in found:
        for hop in leaf.hops:
            layer = graph.layer_of(hop.call)
            if layer is None or layer.name == consumer:
                continue
            if _is_norm(graph, layer.name):
                weight = graph.rec.modules[layer.name].parameters[:1]
                if weight and weight[0].shape == (size,):
                    yield layer.name


def _few(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:2])
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")
