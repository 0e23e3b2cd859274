"""What exactly does not fit in one call: the two numbers or types that clash."""

from __future__ import annotations

import re
from dataclasses import replace

from shapetrace.diagnosis.detection.mismatch import Kind, Mismatch, Spot, is_part
from shapetrace.diagnosis.detection.unlike import (
    other_devices,
    other_types,
    out_of_range,
)
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import is_loss_like, sides
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import (
    Conflict,
    Side,
    argument_name,
    conflicts,
    inner_function,
)

__all__ = ["Mismatch", "Spot", "find_mismatch", "from_module"]


def find_mismatch(graph: Graph, call: FunctionCall) -> Mismatch:
    """What does not fit in a call that raised. Shapes come first, since most of
    PyTorch's messages on types are exact and most of those on shapes are not."""
    layer = graph.layer_of(call)
    loss = is_loss_like(graph, call)
    message = call.error.message if call.error else ""
    # what each kind of clash fills in
    unknown = Mismatch("other", call, layer, loss=loss)
    for find in (_container, out_of_range, other_devices, other_types):
        mismatch = find(graph, unknown, message)
        if mismatch is not None:
            return mismatch
    found = conflicts(call)
    if found:
        first = found[0]
        kind: Kind = "size" if first.kind == "size" else "rank"
        if first.kind in ("numel", "divisible"):
            kind = "numel"
        left, right = _spot(call, first.left), _spot(call, first.right)
        if loss and kind == "rank" and not _is_third(graph, call, left, right):
            return _loss_rank(graph, call, layer, found)
        return Mismatch(kind, call, layer, left, right, first.name, loss, found)
    told = _RANK.search(message)
    if told is not None and layer is not None and call.inputs:
        rank = len(call.inputs[0].shape)
        left = Spot(call.inputs[0].id, None, rank, "input", 0)
        right = Spot(None, None, int(told[1]), f"{told[1]}-D")
        return Mismatch("rank", call, layer, left, right, "dimensions")
    told = _OUT_OF_RANGE.search(message)
    if told is not None and call.inputs and not loss:
        dim, rank = int(told[1]), len(call.inputs[0].shape)
        left = Spot(call.inputs[0].id, None, rank, "input", 0)
        least = dim + 1 if dim >= 0 else -dim
        right = Spot(None, None, least, f"a dim {dim}")
        return Mismatch("rank", call, layer, left, right, "dimensions")
    return _from_message(unknown, message) or unknown


def stretched(
    graph: Graph, call: FunctionCall, ref: TensorRef, other: TensorRef, loss: bool
) -> Mismatch:
    """Two operands of one call that went through, each with the shape that the other
    should have had: the dimension that one has too much, or that differs."""
    loss = loss or is_loss_like(graph, call)
    prediction, target = sides(graph, call) if loss else (None, None)
    if target is not None and target.id == ref.id:
        ref, other = other, ref
    places = {one.id: at for at, one in enumerate(call.inputs)}

    def spot(one: TensorRef, dim: int | None) -> Spot:
        size = len(one.shape) if dim is None else one.shape[dim]
        return Spot(one.id, dim, size, "", places[one.id])

    a, b = ref.shape, other.shape
    if len(a) == len(b):
        at = next(dim for dim, (one, two) in enumerate(zip(a, b)) if one != two)
        kind: Kind = "size"
        left, right = spot(ref, at), spot(other, at)
    else:
        kind = "rank"
        left = spot(ref, _extra_dim(a, b) if len(a) > len(b) else None)
        right = spot(other, _extra_dim(b, a) if len(b) > len(a) else None)
    name = "target" if loss else ""
    layer = graph.layer_of(call)
    return Mismatch(kind, call, layer, left, right, name, loss, silent=True)


_RANK = re.compile(r"expected (\d)D (?:or \dD )?input \(got \dD input\)")
_OUT_OF_RANGE = re.compile(r"Dimension out of range \(.*, but got (-?\d+)\)")
_ASKED = re.compile(
    r"size (?:at least )?(\d+) at dimension (\d+), but got size (\d+)"
    r" for argument #\d+ '(\w+)'"
)
_MUST_MATCH = re.compile(r"dimension of length (\d+)|tensor [ab] \((\d+)\)")


def _from_message(unknown: Mismatch, message: str) -> Mismatch | None:
    """Where no signature says more: a size that the error's text asks for, or two
    operands that do not broadcast, if it speaks of sizes that clash. Class weights and
    the like are found so."""
    asked = _ASKED.search(message)
    if asked is not None:
        wanted, dim, size = (int(number) for number in asked.groups()[:3])
        for at, ref in enumerate(unknown.call.inputs):
            name = argument_name(unknown.call, at)
            if name and name == asked[4] and ref.shape[dim : dim + 1] == (size,):
                left = Spot(ref.id, dim, size, name, at)
                right = Spot(None, None, wanted, "size")
                return replace(unknown, kind="size", left=left, right=right)
    if not _MUST_MATCH.search(message) and "broadcast" not in message:
        return None
    told = {int(a or b) for a, b in _MUST_MATCH.findall(message)}
    best: Mismatch | None = None
    inputs = unknown.call.inputs
    for j, second in enumerate(inputs):
        for i, first in enumerate(inputs[:j]):
            for back in range(1, min(len(first.shape), len(second.shape)) + 1):
                a, b = first.shape[-back], second.shape[-back]
                if a == b or 1 in (a, b):
                    continue
                left = Spot(first.id, len(first.shape) - back, a, "", i)
                right = Spot(second.id, len(second.shape) - back, b, "", j)
                found = replace(unknown, kind="size", left=left, right=right)
                if {a, b} & told:
                    return found
                best = best or found
    return best


def from_module(graph: Graph, module: ModuleCall) -> FunctionCall | None:
    """The function that one of torch's own layers would have called, where the layer's
    own Python checks raised before it came to that."""
    info = graph.rec.modules.get(module.name)
    if info is None:
        return None
    call = inner_function(module, info, graph.rec.modules)
    if call is None:
        return None
    return FunctionCall(
        index=-1,
        parent=module.index,
        name=call.name,
        qualname=call.qualname,
        inputs=call.inputs,
        outputs=None,
        source=module.source,
        error=module.error,
        args=call.args,
        kwargs=call.kwargs,
        direct=False,
    )


def _spot(call: FunctionCall, side: Side) -> Spot:
    tensor = None if side.input is None else call.inputs[side.input].id
    return Spot(tensor, side.dim, side.size, side.name, side.input)


def _is_third(graph: Graph, call: FunctionCall, *spots: Spot) -> bool:
    """Whether neither prediction nor target has the wrong number of dimensions."""
    own = [ref.id for ref in sides(graph, call) if ref is not None]
    odd = [spot.tensor for spot in spots if spot.tensor is not None]
    return any(tensor not in own for tensor in odd)


def _loss_rank(
    graph: Graph,
    call: FunctionCall,
    layer: ModuleCall | None,
    found: tuple[Conflict, ...],
) -> Mismatch:
    """A prediction and a target of different numbers of dimensions: the odd dimension
    is the first that one has and the other has not."""
    prediction, target = sides(graph, call)
    if prediction is None or target is None:
        left, right = _spot(call, found[0].left), _spot(call, found[0].right)
        return Mismatch("rank", call, layer, left, right, found[0].name, True, found)
    a, b = prediction.shape, target.shape
    expected = found[0].left.size if found[0].left.dim is None else len(a)
    if len(b) > expected:
        # what the target has too much; a loss over classes takes (N, …) for (N, C, …)
        like = a[:1] + a[2:] if expected < len(a) else a
        at = _extra_dim(b, like[:expected])
        left = Spot(prediction.id, None, expected, "prediction")
        right = Spot(target.id, at, b[at], "target")
    else:
        at = _extra_dim(a, b)
        left = Spot(prediction.id, at, a[at], "prediction")
        right = Spot(target.id, None, expected, "target")
    return Mismatch("rank", call, layer, left, right, "target", True, found)


def _extra_dim(longer: tuple[int, ...], shorter: tuple[int, ...]) -> int:
    """The dimension that `longer` has too much: the one without which the rest agrees,
    else the last of size 1, else the first that differs."""
    for at in reversed(range(len(longer))):
        if longer[:at] + longer[at + 1 :] == shorter:
            return at
    for at in reversed(range(len(longer))):
        if longer[at] == 1:
            return at
    for at, size in enumerate(longer):
        if at >= len(shorter) or shorter[at] != size:
            return at
    return len(longer) - 1


def _container(graph: Graph, unknown: Mismatch, message: str) -> Mismatch | None:
    """A tuple, dict or dataclass where a tensor is wanted."""
    wanted = (
        "must be Tensor, not",
        "has no attribute",
        "received an invalid combination",
    )
    if not any(part in message for part in wanted):
        return None
    for ref in unknown.call.inputs:
        if is_part(ref.path):
            spot = Spot(ref.id, None, 0, ref.path)
            return replace(unknown, kind="container", left=spot)
    return None
