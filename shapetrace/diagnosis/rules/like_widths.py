"""Votes: what the rest of the model says when a layer and its input disagree."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.detect import Spot
from shapetrace.diagnosis.expected import waiting
from shapetrace.diagnosis.layer_widths import is_norm, next_taker, takes
from shapetrace.diagnosis.leaves import Leaf
from shapetrace.diagnosis.rules.suspects import Place
from shapetrace.diagnosis.similar_modules import few, have, peers, take
from shapetrace.diagnosis.sites import owner
from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo


def elect(
    graph: Graph, consumer: str, left: Spot, right: Spot, found: tuple[Leaf, ...]
) -> tuple[bool, str] | None:
    """Whether the producer of `left.size` is the odd one (True) or the consumer that
    wants `right.size` (False), with the evidence; None when nobody votes, or both.

    Voters: like modules of the same stack, normalisations between the two that took
    the size, the layer behind a normalisation, and where both sizes occur as widths.
    """
    producer = _producer(graph, found)
    votes: list[tuple[int, str]] = []
    end: Place = found[0].end if producer is not None else right
    held = right if right.tensor is not None else _own_width(graph, consumer, right)
    for name, place, odd in ((producer, end, True), (consumer, held, False)):
        if name is None or place.tensor is None or place.dim is None:
            continue
        other = right.size if odd else left.size
        sign = 1 if odd else -1
        likes = unlike(graph, place.tensor, place.dim, other)
        if likes:
            weight = sign * min(len(likes), 2)
            votes.append(
                (
                    weight,
                    f"{few(graph, likes)}, its like, {have(likes)} {other} instead",
                )
            )
        same = equals(graph, place.tensor, place.dim)
        if same:
            own = left.size if odd else right.size
            text = f"`{graph.said(name)}` has {own} as its like have"
            votes.append((-sign, f"{text}, {few(graph, same)}"))
    around = _around(graph, consumer, left)
    following = next_taker(graph, consumer)
    if following is not None and following[1] in {left.size, right.size} - around:
        name, size = following
        sign = 1 if size == right.size else -1
        if is_norm(graph, consumer):
            votes.append(
                (sign, f"`{graph.said(name)}`, defined after it, takes {size}")
            )
        elif _beside(graph, name, consumer):
            votes.append((sign, f"`{graph.said(name)}` beside it takes {size}"))
    votes += _spread(graph, consumer, producer, left.size, right.size)
    took = list(dict.fromkeys(_takers(graph, found, consumer, left.size)))
    if took:
        votes.append((-2, f"{few(graph, took)} took {left.size} before it"))
    total, evidence = _counted(votes)
    if total == 0 or total > 0 and producer is None:
        return None
    return total > 0, evidence


def _counted(votes: list[tuple[int, str]]) -> tuple[int, str]:
    """The sum of the votes, and the weightiest of those that agree with it."""
    total = sum(weight for weight, _ in votes)
    sign = 1 if total > 0 else -1
    agreed = [vote for vote in votes if total and vote[0] * sign > 0]
    return total, max(agreed, key=lambda vote: vote[0] * sign)[1] if agreed else ""


def _own_width(graph: Graph, consumer: str, right: Spot) -> Spot:
    """The weight of a normalisation, where the clash is with a number among the
    arguments (`normalized_shape`) that the weight's size is."""
    info = graph.rec.modules.get(consumer)
    for ref in info.parameters if info is not None else ():
        if ref.shape == (right.size,):
            return Spot(ref.id, 0, right.size)
    return right


def _spread(
    graph: Graph, consumer: str, producer: str | None, left: int, right: int
) -> list[tuple[int, str]]:
    """One of the two sizes is a width elsewhere in the model and the other is none."""
    if producer is None:
        wide = widths(graph, {consumer}, left)
        fit = widths(graph, {consumer}, right)
        if len(wide) > 1 and not fit:
            text = f"{few(graph, wide)} {take(wide)} {left}, none takes {right}"
            return [(-1, text)]
        return []
    wide = having(graph, left, {producer: 0, consumer: 1})
    fit = having(graph, right, {producer: 0, consumer: 1})
    if fit and not wide:
        text = f"{right} is a width of {few(graph, fit)} too, {left} of no other layer"
        return [(1, text)]
    if wide and not fit:
        text = f"{left} is a width of {few(graph, wide)} too, {right} of no other layer"
        return [(-1, text)]
    return []


def having(graph: Graph, size: int, but: dict[str, int]) -> list[str]:
    """The layers that take or give `size`; of those at odds, one dimension of the
    weight is what is asked about and does not count."""
    found = []
    modules = graph.rec.modules
    tied = {
        ref.id
        for call in graph.rec.functions
        if (layer := graph.layer_of(call)) is not None and layer.name in but
        for ref in call.inputs
        if graph.is_parameter(ref.id)
    }
    for name, info in modules.items():
        weight = next((p for p in info.parameters if p.path == "weight"), None)
        if weight is None or not weight.shape:
            continue
        shape = list(weight.shape[:2])
        at = but.get(name)
        if at is None and weight.id in tied:
            continue  # the weight of one of the two, held here too
        if at is not None and len(shape) == 2:
            if info.type.startswith(("ConvTranspose", "Embedding")):
                at = 1 - at  # the weight has them the other way round
            if info.attributes.get("groups", 1) != 1:
                continue
            del shape[at]
        elif at is not None:
            continue
        if info.type.startswith("Embedding"):
            shape = shape[-1:] if at is None else []
        if size in shape:
            found.append(name)
    return found


def _producer(graph: Graph, found: tuple[Leaf, ...]) -> str | None:
    """The layer whose width the size is, if one is."""
    if len(found) != 1 or found[0].end.kind != "parameter":
        return None
    return owner(graph, found[0].end.tensor)


def unlike(graph: Graph, tensor: int, dim: int, other: int) -> list[str]:
    """The modules like the holder of a parameter, all of which have `other` where it
    has another size."""
    best: list[str] = []
    for group in _peers(graph, tensor, dim):
        if set(group.values()) == {other}:
            best = max(best, list(group), key=len)
    return best


def usual(graph: Graph, tensor: int, dim: int) -> tuple[int, str] | None:
    """The size that all like the holder of a parameter have where it has another, and
    what tells so."""
    own = graph.size(tensor, dim)
    for group in _peers(graph, tensor, dim):
        sizes = set(group.values())
        if len(sizes) == 1 and own not in sizes:
            likes, size = list(group), sizes.pop()
            return (
                size,
                f"{few(graph, likes)}, its like, {have(likes)} {size}, not {own}",
            )
    return None


def equals(graph: Graph, tensor: int, dim: int) -> list[str]:
    """The modules like the holder of a parameter, where all have its size."""
    return unlike(graph, tensor, dim, graph.size(tensor, dim))


def _peers(graph: Graph, tensor: int, dim: int) -> list[dict[str, int]]:
    """The size of the same dimension of the same parameter, in the modules like its
    holder."""
    origin = graph.origin(tensor)
    if origin is None or origin.kind not in ("parameter", "buffer"):
        return []
    holder, _, path = origin.name.rpartition(".")
    return peers(graph, holder, path, dim) if holder in graph.rec.modules else []


def _around(graph: Graph, consumer: str, left: Spot) -> set[int]:
    """All other sizes that came into the modules around a layer: what is defined after
    it may well take one of those."""
    found: set[int] = set()
    for call in graph.rec.calls:
        inside = f"{call.name}." if call.name else ""
        if call.outputs is None and consumer.startswith(inside):
            for ref in call.inputs:
                own = ref.id == left.tensor
                # another tensor's features, or what else this one has
                found |= {
                    n for dim, n in enumerate(ref.shape) if (dim == left.dim) != own
                }
    return found


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


def odd_one(graph: Graph, a: Place, b: Place) -> tuple[int, str]:
    """Which of two operands has a size that its layer alone has: below 0 the first,
    above 0 the second, 0 where that cannot be told; with the evidence."""
    assert a.tensor is not None and a.dim is not None
    assert b.tensor is not None and b.dim is not None
    sizes = graph.size(a.tensor, a.dim), graph.size(b.tensor, b.dim)
    votes: list[tuple[int, str]] = []
    for place, sign in ((a, -1), (b, 1)):
        assert place.tensor is not None and place.dim is not None
        end = _width(graph, place.tensor, place.dim)
        if end is None:
            continue
        # the width itself may have been split: its like tell of the whole
        own = graph.size(*end)
        for other in {n for group in _peers(graph, *end) for n in group.values()}:
            likes = unlike(graph, *end, other) if other != own else []
            if likes:
                text = (
                    f"{few(graph, likes)}, its like, {have(likes)} {other}, not {own}"
                )
                votes.append((2 * sign, text))
        same = equals(graph, *end)
        if same:
            # of a width that is in no dimension that disagrees it is no matter
            text = f"the other has {own} as {few(graph, same)}"
            votes.append((-sign, text if own in sizes else ""))
    takes = set(waiting(graph).values())
    if (sizes[0] in takes) != (sizes[1] in takes):
        size = sizes[0] if sizes[0] in takes else sizes[1]
        sign = 1 if size == sizes[0] else -1
        name = next(name for name, n in waiting(graph).items() if n == size)
        votes.append((sign, f"`{graph.said(name)}`, not reached yet, takes {size}"))
    return _counted(votes)


def _width(graph: Graph, tensor: int, dim: int) -> tuple[int, int] | None:
    """The dimension of the parameter that a size, or the one factor of it that is not
    batch or time, comes from."""
    ends = [end for end in graph.ends(tensor, dim) if end.kind == "parameter"]
    if not ends:
        for at in range(len(graph.tensors[tensor].shape)):
            ends += [e for e in graph.ends(tensor, at) if e.kind == "parameter"]
    places = {(end.tensor, end.dim) for end in ends}
    return places.pop() if len(places) == 1 else None


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
            if is_norm(graph, layer.name):
                weight = graph.rec.modules[layer.name].parameters[:1]
                if weight and weight[0].shape == (size,):
                    yield layer.name
