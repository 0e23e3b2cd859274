"""Data of another shape: nothing in the program is wrong, what it was given is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.expected import sizes_asked
from shapetrace.diagnosis.generate.windows import has_windows
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Taken
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import edited_at
from shapetrace.diagnosis.repair.edits import resized
from shapetrace.diagnosis.sites import is_loaded, site_of_data
from shapetrace.diagnosis.sizes.leaves import Leaf, counts_samples, leaves
from shapetrace.lineage import End, Graph
from shapetrace.records import FunctionCall
from shapetrace.signatures import is_elementwise, kind

#: usual sizes of images, small ones first
_SIZES = (28, 32, 64, 96, 128, 224, 256, 299, 384, 512)
#: parts of one size that are looked at
_PARTS = 24


def data(case: Case) -> Iterator[Hypothesis | None]:
    """Every beginning of the odd sizes in data, of the size that would fit."""
    graph = case.graph
    for spot, wanted in (*case.mismatch.wanted, *case.assumed):
        if spot.tensor is None or graph.is_parameter(spot.tensor):
            continue
        shape = graph.tensors[spot.tensor].shape
        if case.mismatch.kind == "rank" and spot.dim is None:
            # a loss took what the model made of other data as readily
            if not (case.mismatch.loss and graph.from_model(spot.tensor)):
                yield _whole(case, spot.tensor)
            continue
        dims = [spot.dim] if spot.dim is not None else []
        if spot.dim is None and case.mismatch.kind == "numel":
            if _odd_in_data(case, spot.tensor):
                yield _whole(case, spot.tensor)
            dims = list(range(len(shape)))
        if dims:
            yield from _of_sizes(case, spot.tensor, dims, wanted)
        yield _all_that_differ(case, spot.tensor)
    yield from _of_one(case)
    yield from _images(case)


def _of_one(case: Case) -> Iterator[Hypothesis]:
    """A batch of one that a view joined with something else, where the other side has
    more samples there: 1·heads against 4·heads."""
    left, right = case.mismatch.left, case.mismatch.right
    for spot, other in zip((left, right), case.factors[::-1]):
        counted = [
            leaf
            for leaf in other.odd
            if counts_samples(case.graph, leaf.hops, leaf.end)
        ]
        if spot is None or spot.tensor is None or spot.dim is None or len(counted) != 1:
            continue
        for end in _ones(case.graph, spot.tensor, spot.dim):
            found = _made_so(case, end.tensor, {end.dim: counted[0].size})
            reason = f"is a batch of one; the other side has {counted[0].size}"
            yield replace(found, reason=reason)


def _ones(graph: Graph, tensor: int, dim: int) -> Iterator[End]:
    """Where the dimensions of size 1 begin that views dropped in front of a size, if
    they are the batch of data."""
    for hop in graph.trail(tensor, dim).hops:
        if hop.origin.how != "same" or not hop.call.inputs:
            continue
        given = hop.call.inputs[0]
        before = hop.origin.sources[0][1] - 1
        if len(given.shape) <= len(graph.tensors[hop.tensor].shape) or before < 0:
            continue
        if kind(hop.call.name) == "view" and given.shape[before] == 1:
            ones = graph.trail(given.id, before)
            if counts_samples(graph, ones.hops, ones.end):
                yield ones.end


def _odd_in_data(case: Case, tensor: int) -> bool:
    """Whether data began any factor of a tensor that a view does not ask for."""
    left, _ = case.factors
    return case.graph.is_data(tensor) or any(
        leaf.end.kind == "data" for leaf in left.odd
    )


def _came_in(graph: Graph, end: End) -> bool:
    """Whether a size began in data, or in what a library made of it."""
    return end.kind == "data" or is_loaded(graph, end.tensor)


def _all_that_differ(case: Case, tensor: int) -> Hypothesis | None:
    """Data as it came in, with all sizes that the other side has otherwise."""
    sizes: dict[tuple[int, int], int] = {}
    for clash in case.mismatch.conflicts:
        for own, other in ((clash.left, clash.right), (clash.right, clash.left)):
            if own.input is None or own.dim is None or other.input is None:
                continue
            if case.call.inputs[own.input].id == tensor:
                end = case.graph.trail(tensor, own.dim).end
                if _came_in(case.graph, end):
                    sizes[end.tensor, end.dim] = other.size
    made = {end for end, _ in sizes}
    if len(sizes) < 2 or len(made) > 1:
        return None
    dims = {dim: size for (_, dim), size in sizes.items()}
    return _made_so(case, made.pop(), dims)


def _of_sizes(
    case: Case, tensor: int, dims: list[int], wanted: int
) -> Iterator[Hypothesis | None]:
    """The dimensions of data behind a size, each alone, and the rows and columns of an
    image together, with what makes the size, or the sizes' product, `wanted`."""
    graph = case.graph
    sizes = [graph.size(tensor, dim) for dim in dims]
    whole = prod(sizes) or 1
    groups: dict[tuple[int, int], list[tuple[int, Leaf]]] = {}
    for at, dim in enumerate(dims):
        for leaf in leaves(graph, tensor, dim):
            if leaf.size and _came_in(graph, leaf.end):
                size = graph.size(leaf.end.tensor, leaf.end.dim)
                groups.setdefault((leaf.end.tensor, size), []).append((at, leaf))
    for (made, size), places in groups.items():
        found = [leaf for _, leaf in places]
        spans = {leaf.end.dim for leaf in found}
        asked = wanted
        if case.mismatch.kind == "numel" and -1 in sizes_asked(case.call):
            # a view that leaves its first size to torch: of each of what stands before
            asked *= prod(sizes[: places[0][0]])
        seen = any(hop.origin.how == "window" for leaf in found for hop in leaf.hops)
        if seen or len(spans) > 1:
            for new in _together(size, found, whole, asked):
                one = _made_so(case, made, dict.fromkeys(sorted(spans), new))
                yield replace(one, once=f"data {made} {spans}")
        new, rest = divmod(size * asked, whole)
        for leaf in found if not rest else ():
            # else a factor, of which no other number would fit alone
            yield _alone(case, leaf, max(new, 1))
        if not case.mismatch.loss and is_elementwise(case.call.name):
            # a mask in colour: one channel goes with all
            yield from (_alone(case, leaf, 1) for leaf in found if leaf.size == size)
    if len(dims) == 1:
        for part, dim, rest in _parts(graph, tensor, dims[0], wanted):
            yield from _of_sizes(case, part, [dim], rest)


def _parts(
    graph: Graph, tensor: int, dim: int, wanted: int
) -> Iterator[tuple[int, int, int]]:
    """The parts of a size that is a sum, each with what it would have to be alone: of
    very many alike, as of a list that a loop has filled, the first."""
    end = graph.trail(tensor, dim).end
    alike: Counter[int] = Counter()
    if end.kind == "branch" and end.origin is not None and end.origin.how == "sum":
        size = graph.size(tensor, dim)
        for part, at in end.sources:
            own = graph.size(part, at)
            alike[own] += 1
            if alike[own] <= _PARTS and 0 < own + wanted - size and own < size:
                yield part, at, own + wanted - size


def _together(size: int, found: list[Leaf], whole: int, wanted: int) -> list[int]:
    """The sizes of data with which a size, maybe behind windows (convolution, pooling),
    is `wanted`, the likeliest first: in proportion, so many steps more, usual."""
    part = found[0].size
    share = part * (wanted / whole) ** (1 / len(found))
    step = max(1, round(size / part))
    likely = [round(size * share / part), size + round(share - part) * step]
    usual = sorted(_SIZES, key=lambda one: abs(one - likely[0]))
    return [new for new in dict.fromkeys(likely + usual) if new > 0 and new != size]


def _alone(case: Case, leaf: Leaf, new: int) -> Hypothesis | None:
    """One dimension of data with another size."""
    tensor, dim = leaf.end.tensor, leaf.end.dim
    size = case.graph.size(tensor, dim)
    if new == size:
        return None
    made = _made_so(case, tensor, {dim: new})
    if counts_samples(case.graph, leaf.hops, leaf.end):
        return replace(made, reason=f"is a batch of {size}") if new > 1 else None
    return made


def _made_so(case: Case, tensor: int, dims: dict[int, int]) -> Hypothesis:
    """Data with other sizes in some dimensions."""
    edit, made = resized(dims), case.graph.producer(tensor)
    site = site_of_data(case.graph, tensor, target=case.is_target(tensor))
    same, known = [tensor], True
    if isinstance(made, FunctionCall):
        known = not made.inputs or is_loaded(case.graph, tensor)
        if not made.inputs:  # one for each sample of a data set
            alike = [one.outputs[0] for one in case.alike(made) if one.outputs]
            shape = case.graph.tensors[tensor].shape
            same += [r.id for r in alike if r.id != tensor and r.shape == shape]
    taken = [Taken(one, edit) for one in same] + list(_follow(case, tensor, dims))
    first = min(dims)
    sizes = "x".join(str(case.graph.size(tensor, dim)) for dim in sorted(dims))
    places = " and ".join(map(str, sorted(dims)))
    return Hypothesis(
        "data",
        site,
        Repair(taken=tuple(taken)) if known else None,
        case.hops(tensor),
        words=edit.words,
        reason=f"has {sizes} in dim{'s' * (len(dims) > 1)} {places}",
        dim=first,
        size=case.graph.size(tensor, first),
        expected=dims[first],
    )


def _follow(case: Case, tensor: int, dims: dict[int, int]) -> Iterator[Taken]:
    """What the code makes as large as data is, with its new sizes."""
    for behind in case.behind:
        call = behind.call
        made = call.outputs[0] if call.outputs and not call.inputs else None
        if made is None or made.id == tensor:
            continue
        for dim in range(len(made.shape)):
            found = leaves(case.graph, made.id, dim)
            end = found[0].end
            if len(found) == 1 and end.tensor == tensor and end.dim in dims:
                yield Taken(made.id, resized({dim: dims[end.dim]}))


def _whole(case: Case, tensor: int) -> Hypothesis | None:
    """Data with another number of dimensions; None where a parameter began it."""
    first = tensor
    for made, call in case.graph.chain(tensor):
        first = call.inputs[0].id if call.inputs else made
    if case.graph.is_parameter(first):
        return None
    shape = case.graph.tensors[first].shape
    site = site_of_data(case.graph, first, target=case.is_target(tensor))
    return Hypothesis(
        "data", site, None, case.hops(tensor), reason=f"has shape {shape}"
    )


def _images(case: Case) -> Iterator[Hypothesis | None]:
    """The model's images resized to a usual size, the nearest first."""
    top = case.root()
    if top is None or not top.inputs or case.graph.from_model(top.inputs[0].id):
        return
    ref = top.inputs[0]
    if len(ref.shape) != 4 or ref.shape[-1] < 4 or not _spatial(case):
        return
    site = case.site_of(ref.id)
    for size in sorted(_SIZES, key=lambda size: abs(size - ref.shape[-1])):
        if ref.shape[-2:] != (size, size):
            edit = edits.resize((size, size), ref.shape[2:])
            yield edited_at(case, top, ref, edit, "cut", site, once="resize")


def _spatial(case: Case) -> bool:
    """Whether the odd size depends on that of the images: a layer's width does not."""
    for spot in case.mismatch.spots:
        if spot.tensor is None or case.graph.is_parameter(spot.tensor):
            continue
        rank = len(case.graph.tensors[spot.tensor].shape)
        dims = range(rank) if spot.dim is None else [spot.dim]
        if any(has_windows(case, spot.tensor, dim) for dim in dims if dim < rank):
            return True
    return False
