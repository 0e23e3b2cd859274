"""The same sizes on both sides in another order: a permute is missing."""

from __future__ import annotations

from shapetrace.diagnosis.detect import Mismatch
from shapetrace.diagnosis.orders import placements
from shapetrace.diagnosis.rules.suspects import Place
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
)
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall, ModuleCall

_ARRANGING = frozenset(
    "view reshape unflatten flatten permute transpose swapaxes swapdims movedim "
    "moveaxis t stack".split()
)


def disordered(problem: Mismatch) -> bool:
    """Whether the sizes that clash are the same ones on both sides."""
    pairs = [(c.left.size, c.right.size) for c in problem.conflicts if c.kind == "size"]
    lefts, rights = sorted(a for a, _ in pairs), sorted(b for _, b in pairs)
    return len(pairs) > 1 and lefts == rights


def arranger(graph: Graph, tensor: int) -> FunctionCall | None:
    """The newest function of the user's that put a tensor's dimensions in order."""
    for made, call in graph.chain(tensor):
        if isinstance(call, FunctionCall) and call.direct and call.name in _ARRANGING:
            if call.inputs and call.inputs[0].shape != graph.tensors[made].shape:
                return call
    return None


def pooled_away(
    graph: Graph, tensor: int, size: int
) -> tuple[FunctionCall | ModuleCall, int] | None:
    """The pooling or mean behind a tensor that took one of its input's dimensions, of
    the size that is wanted now, for space; and that dimension. Layers with parameters
    make widths of their own: what is behind the newest of them is not looked at."""
    for _, call in graph.chain(tensor):
        if any(graph.is_parameter(ref.id) for ref in call.inputs) or not call.inputs:
            return None
        before = call.inputs[0].shape
        after = call.outputs[0].shape if call.outputs else ()
        if size < 2 or before.count(size) != 1 or size in after or len(before) < 3:
            continue
        dim = before.index(size)
        origins = graph.relation(call).outputs[:1]
        kept = [o.how for dims in origins for o in dims if (0, dim) in o.sources]
        if dim > 1 and origins and set(kept) <= {"window", "argument"}:
            return call, dim
    return None


def blame_order(graph: Graph, *tensors: int) -> list[Culprit]:
    """Whoever arranged one of the tensors, the first that somebody arranged."""
    for tensor in tensors:
        call = None if graph.is_parameter(tensor) else arranger(graph, tensor)
        if call is not None and call.outputs:
            reason = (
                f"gives {call.outputs[0].shape}; the other side has the same sizes in "
                "another order: a permute is missing after it"
            )
            return [culprit_of_call(graph, call, reason=reason)]
    return []


def misaligned(
    graph: Graph, call: FunctionCall, left: int, right: int
) -> list[Culprit]:
    """Two operands of which one has fewer dimensions, whose sizes are all found in the
    other, but not at its end, where broadcasting looks for them."""
    few, many = sorted((left, right), key=lambda i: len(graph.tensors[i].shape))
    shape, other = graph.tensors[few].shape, graph.tensors[many].shape
    if graph.is_parameter(few) or not placements(shape, other):
        return []
    reason = (
        f"has shape {shape}, which {call.name} lines up with the last dimensions of"
        f" {other}"
    )
    made = graph.producer(few)
    if made is not None and made.inputs and made.parent is not None:
        return [culprit_of_call(graph, made, reason=reason.replace("has", "gives", 1))]
    return [culprit_of_data(graph, few, reason=reason)]


def misplaced(graph: Graph, left: int, right: int) -> list[Culprit]:
    """A dimension of the data's, such as its batch, that stands in another place of
    one operand than of the other: whoever made what stands before it there."""
    for tensor, other in ((left, right), (right, left)):
        here, there = graph.tensors[tensor].shape, graph.tensors[other].shape
        if len(here) != len(there):
            continue
        for dim, size in enumerate(here):
            if dim == 0 or size < 2 or there[dim] == size:
                continue
            own, firm = graph.trail(tensor, dim).end, graph.trail(other, 0).end
            same = (own.kind, own.tensor, own.dim) == (firm.kind, firm.tensor, firm.dim)
            if there[0] != size or own.kind != "data" or not same:
                continue
            front = graph.trail(tensor, 0)
            made = front.hops[-1].call if front.hops else None
            if made is None or front.end.kind == "data":
                return []
            reason = (
                f"gives a tensor with the batch of {size} in dim {dim}, behind a "
                f"dimension of {here[0]}; the other side has it in dim 0"
            )
            return [culprit_of_call(graph, made, dim=0, size=here[0], reason=reason)]
    return []


def turned_axes(graph: Graph, problem: Mismatch) -> list[Culprit]:
    """Batch and time in the order that a recurrent or attention layer does not take:
    the sizes that clash are the first two of what it was given."""
    layer, sides = problem.layer, {spot.size for spot in problem.spots}
    info = graph.rec.modules.get(layer.name) if layer is not None else None
    if layer is None or info is None or not layer.inputs or len(sides) != 2:
        return []
    given, first = layer.inputs[0], info.attributes.get("batch_first")
    shape = given.shape
    if type(first) is not bool or len(shape) != 3 or set(shape[:2]) != sides:
        return []
    zero, one = ("batch", "time") if first else ("time", "batch")
    reason = (
        f"takes dimension 0 as {zero} and 1 as {one} (batch_first={first}); its inputs"
        " come the other way round"
    )
    spot = problem.spots[-1]
    found = [culprit_of_module(layer, dim=spot.dim, size=spot.size, reason=reason)]
    taken = f"`{graph.spoken(layer)}` takes {zero} first"
    for made, call in graph.chain(given.id):
        before = call.inputs[0].shape if call.inputs else ()
        after = graph.tensors[made].shape
        if isinstance(call, FunctionCall) and call.direct and before != after:
            if call.name in _TURNING and before[:2] == after[1::-1]:
                why = f"puts {before} the other way round; {taken}"
                found.insert(
                    0, culprit_of_call(graph, call, dim=0, size=after[0], reason=why)
                )
            break
    return found


_TURNING = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t")


def steps_first(graph: Graph, place: Place) -> Culprit | None:
    """The recurrent layer without `batch_first` that made a batch of what is the second
    dimension of the data."""
    if place.tensor is None or place.dim is None:
        return None
    trail = graph.trail(place.tensor, place.dim)
    if trail.end.kind != "data" or trail.end.dim != 1:
        return None
    for hop in trail.hops:
        layer = graph.layer_of(hop.call)
        info = graph.rec.modules.get(layer.name) if layer is not None else None
        if layer is None or info is None or info.type not in ("LSTM", "GRU", "RNN"):
            continue
        if info.attributes.get("batch_first") is False:
            size = graph.size(hop.tensor, hop.dim)
            reason = (
                f"takes dimension 1 of its input, {size}, as the batch "
                "(batch_first=False)"
            )
            return culprit_of_module(layer, dim=hop.dim, size=size, reason=reason)
    return None
