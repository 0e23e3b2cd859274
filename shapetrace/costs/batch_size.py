"""How many samples a batch has: which dimension of a model's inputs that is differs,
and where the samples come in a list it is none of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from shapetrace.lineage import Graph
from shapetrace.lineage.dimensions import Axes
from shapetrace.records import FunctionCall, ModuleCall, Recording, TensorRef
from shapetrace.signatures import is_loss, kind, loss

#: what takes one dimension for the batch, by trust. A normalisation of rows may be one
#: of nodes or points, a loss one of the words of a single text.
_LAYERS = ("convolution", "recurrent", "attention")


def told(rec: Recording, turns: Sequence[Sequence[ModuleCall]]) -> list[int | None]:
    """What the layers of each batch take as its size, else its losses; None where they
    tell none. `turns` are the outermost calls of each."""
    graph = Graph(rec)
    axes = Axes(graph)
    starts = [calls[0].start_ns for calls in turns]
    votes: list[tuple[Counter[int], Counter[int]]] = [
        (Counter(), Counter()) for _ in turns
    ]
    for call in graph.program:
        at = bisect_right(starts, call.start_ns) - 1
        trust = 0 if kind(call.name) in _LAYERS else 1 if is_loss(call.name) else None
        if at >= 0 and trust is not None and call.outputs is not None:
            votes[at][trust].update(_batches(graph, axes, call))
    found = [layers or losses for layers, losses in votes]
    return [one.most_common(1)[0][0] if one else None for one in found]


def _batches(graph: Graph, axes: Axes, call: FunctionCall) -> Iterator[int]:
    """The dimension that a call takes as the batch, where it is one, and not several
    that a view has merged, or as many as some values were chosen."""
    ref, roles = call.inputs[0], graph.relation(call).roles
    if roles.get((0, 0)) == "packed":  # sequences, one state for each
        yield call.inputs[2].shape[1]
    dims = [dim for (at, dim), role in roles.items() if at == 0 and role == "batch"]
    facts = loss(call.name)
    if facts is not None and not facts.names_batch:
        dims = [0] if ref.shape else []
    if len(dims) != 1:
        return
    made_of = axes.of(ref.id, dims[0])
    kinds = {root[0] for axis in made_of for root in axis.roots}
    if len(made_of) == 1 and kinds <= {"data", "made"} and axes.sure(ref.id, dims[0]):
        for _, tensor, dim in made_of[0].roots:
            origin = graph.dim_origin(tensor, dim)
            if origin is not None and origin[1].how == "values":
                return
        yield ref.shape[dims[0]]


def given(turns: Sequence[Sequence[TensorRef]]) -> list[int | None]:
    """What the inputs of each batch say: the first dimension that most of them have,
    or where that is always the same, the only size that is not."""
    first = [_most(ref.shape[0] for ref in refs if ref.shape) for refs in turns]
    if len(set(first)) == 1:
        shapes = [{ref.path: ref.shape for ref in refs} for refs in turns]
        paths = set(shapes[0]).intersection(*shapes)
        varying = {
            sizes
            for path in paths
            for sizes in zip(*(one[path] for one in shapes), strict=False)
            if len(set(sizes)) > 1
        }
        counts = tuple(map(len, shapes))
        if len(set(counts)) > 1:  # of samples in a list
            varying.add(counts)
        if len(varying) == 1:
            return list(varying.pop())
    return first


def _most(sizes: Iterator[int]) -> int | None:
    return next((size for size, _ in Counter(sizes).most_common(1)), None)
