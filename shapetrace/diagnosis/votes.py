"""Votes: what the rest of the model says when a layer and its input disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shapetrace.diagnosis.likeness import pattern
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
        likes = list(_alike(graph, name, own, other))
        weight = 2 if odd else -2
        if likes:
            votes.append(
                (weight, f"{_few(likes)}, its like, {_have(likes)} {other} instead")
            )
    for name, size in _next_widths(graph, consumer, (left.size, right.size)):
        if size == right.size and _is_norm(graph, consumer):
            votes.append((1, f"`{name}` behind it wants {size} too"))
        elif size == left.size and _is_norm(graph, consumer):
            votes.append((-1, f"`{name}` behind it wants {size}"))
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


def _alike(graph: Graph, name: str, own: int, other: int) -> Iterator[str]:
    """Modules of the same stack and type, which have `other` where this has `own`; none
    when any of them is like this one."""
    form = pattern(name)
    info = graph.rec.modules.get(name)
    if info is None or form == name:
        return
    mine = _sizes(info)
    found = []
    for candidate, theirs in graph.rec.modules.items():
        if candidate == name or pattern(candidate) != form:
            continue
        if candidate.rpartition(".")[2] != name.rpartition(".")[2]:
            continue  # neighbours in one nn.Sequential are not alike
        if theirs.type != info.type:
            continue
        sizes = _sizes(theirs)
        if sizes == mine:
            return
        gained, lost = sizes - mine, mine - sizes
        if gained and set(gained) == {other} and set(lost) == {own}:
            found.append(candidate)
    yield from found


def _sizes(info: ModuleInfo) -> Counter[int]:
    return Counter(size for ref in info.parameters for size in ref.shape)


def _is_norm(graph: Graph, name: str) -> bool:
    info = graph.rec.modules.get(name)
    return info is not None and info.type.startswith(_NORMS)


def _next_widths(
    graph: Graph, name: str, sizes: tuple[int, int]
) -> Iterator[tuple[str, int]]:
    """The first module defined after `name` whose weight takes one of two sizes."""
    names = list(graph.rec.modules)
    if name not in graph.rec.modules:
        return
    parent = name.rpartition(".")[0]
    for candidate in names[names.index(name) + 1 :]:
        if parent and not candidate.startswith(parent.rpartition(".")[0]):
            return
        weight = next(
            (p for p in graph.rec.modules[candidate].parameters if p.path == "weight"),
            None,
        )
        if weight is None or not weight.shape:
            continue
        wants = weight.shape[1] if len(weight.shape) > 1 else weight.shape[0]
        if wants in sizes:
            yield candidate, wants
        if wants > 1:  # nn.PReLU has one number for all
            return


def prefer(graph: Graph, a: int, b: int) -> int:
    """Which of two sizes the layers of the model take: 1 for the first, -1 for the
    second, 0 where it is not at least two to one."""
    takes_a, takes_b = (len(widths(graph, set(), size)) for size in (a, b))
    if takes_a > 2 * takes_b:
        return 1
    return -1 if takes_b > 2 * takes_a else 0


def widths(graph: Graph, but: set[str | None], size: int) -> list[str]:
    """The layers that take `size` features or channels, but for the two at odds."""
    found = []
    for name, info in graph.rec.modules.items():
        weight = next((p for p in info.parameters if p.path == "weight"), None)
        if weight is None or name in but or not weight.shape:
            continue
        norm = len(weight.shape) == 1 and info.type.startswith(_NORMS)
        if norm and weight.shape[0] == size:
            found.append(name)
        elif len(weight.shape) > 1 and not info.type.startswith("Embedding"):
            if weight.shape[1] == size:
                found.append(name)
    return found


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


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
