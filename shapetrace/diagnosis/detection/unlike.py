"""Clashes that no shape tells: indices beyond a table, element types, devices."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Literal

import torch

from shapetrace.diagnosis.detection.mismatch import Mismatch, Spot
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import is_loss_like, sides
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import argument_name


def out_of_range(graph: Graph, unknown: Mismatch, message: str) -> Mismatch | None:
    """An index beyond its table; the values were read when the call raised."""
    call = unknown.call
    if call.error is None or call.error.type not in ("IndexError", "RuntimeError"):
        return None
    low = message.lower()
    if call.name == "one_hot" and "class values" in low:
        return _beyond_classes(graph, unknown)
    if "index" not in low and "target" not in low or "selected index k" in low:
        return None
    if "out of" not in low or "bounds" not in low and "range" not in low:
        return None
    told = _OUT_OF_BOUNDS.search(message)
    for position, ref in enumerate(call.inputs):
        span = graph.rec.value_ranges.get(ref.id)
        if span is None or not (unknown.loss or _is_index(graph, call, position)):
            continue
        if told is not None and not _is_told(call, ref, span, told):
            continue  # of several indices another one
        bad = span[0] if span[0] < 0 else span[1]
        left = Spot(ref.id, None, bad, "index", position)
        size = _told_size(call, told, ref) or _table_size(graph, call, ref)
        return replace(unknown, kind="range", left=left, right=size, name="index")
    if told is not None and call.name == "getitem":
        left = Spot(None, None, int(told[1]), "index")
        size = _told_size(call, told, None)
        return replace(unknown, kind="range", left=left, right=size, name="index")
    return None


def _is_told(
    call: FunctionCall,
    index: TensorRef,
    span: tuple[int, int],
    told: re.Match[str],
) -> bool:
    """Whether of several indices one may be that which the error's text speaks of."""
    dim, size = int(told[2]), int(told[3])
    if -size <= span[0] and span[1] < size:
        return False
    parts = call.args[1] if call.name in ("getitem", "setitem") else None
    if not isinstance(parts, tuple) or not all(
        isinstance(part, TensorRef) for part in parts
    ):
        return True  # with slices between them PyTorch counts other dimensions
    return dim >= len(parts) or parts[dim] == index


def _beyond_classes(graph: Graph, unknown: Mismatch) -> Mismatch | None:
    """A class that one_hot has no column for."""
    call = unknown.call
    count = [*call.args[1:2], *call.kwargs.values()]
    span = graph.rec.value_ranges.get(call.inputs[0].id) if call.inputs else None
    if span is None:
        return None
    bad = span[0] if span[0] < 0 else span[1]
    left = Spot(call.inputs[0].id, None, bad, "index", 0)
    right = None
    if count and type(count[0]) is int and count[0] > 0:
        right = Spot(None, None, count[0], "num_classes")
    return replace(unknown, kind="range", left=left, right=right, name="index")


_OUT_OF_BOUNDS = re.compile(
    r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)"
)


def _is_index(graph: Graph, call: FunctionCall, position: int) -> bool:
    """Whether a tensor is what a call looks up or puts by."""
    if call.name in ("getitem", "setitem", "take"):
        return position > 0
    if call.name.startswith("embedding"):
        return not graph.is_parameter(call.inputs[position].id)
    name = argument_name(call, position) or ""
    return name.partition("[")[0] in ("index", "indices")


def _told_size(
    call: FunctionCall, told: re.Match[str] | None, index: TensorRef | None
) -> Spot | None:
    """The dimension that the error's text says is too short."""
    if told is None:
        return None
    dim, size = int(told[2]), int(told[3])
    for position, ref in enumerate(call.inputs):
        if index is None or ref.id != index.id:
            if ref.shape[dim : dim + 1] == (size,):
                return Spot(ref.id, dim, size, "", position)
            if ref.shape.count(size) == 1:
                return Spot(ref.id, ref.shape.index(size), size, "", position)
    return None


def _table_size(graph: Graph, call: FunctionCall, index: TensorRef) -> Spot | None:
    """What an index may go up to: rows of a table, or classes of a prediction."""
    for position, ref in enumerate(call.inputs):
        if ref.id == index.id or not ref.shape:
            continue
        if is_loss_like(graph, call):
            dim = 1 if len(ref.shape) > 1 else 0
            return Spot(ref.id, dim, ref.shape[dim], "classes", position)
        return Spot(ref.id, 0, ref.shape[0], "num_embeddings", position)
    return None


def other_types(graph: Graph, unknown: Mismatch, message: str) -> Mismatch | None:
    low = message.lower()
    words = (
        *("dtype", "scalar type", "floating point type", "bias type", "weight type"),
        *("expected object of", "not implemented for", "expected tensor for argument"),
    )
    if not any(word in low for word in words):
        return None
    if "expected all tensors" in low or "same device" in low:
        return None
    call = unknown.call
    index = None if unknown.loss else _float_index(graph, call)
    if index is not None and ("int64" in low or "indices" in low):
        return replace(unknown, kind="dtype", left=_whole(call, index), name="int64")
    return _odd_pair(graph, unknown, "dtype")


def _float_index(graph: Graph, call: FunctionCall) -> TensorRef | None:
    """What a lookup was given for its index, where that is of no type of integers."""
    for position, ref in enumerate(call.inputs):
        name = argument_name(call, position)
        index = name in ("index", "indices") or (
            call.name.startswith("embedding") and not graph.is_parameter(ref.id)
        )
        if index and ref.dtype not in _INDEX_TYPES:
            return ref
    return None


_INDEX_TYPES = (torch.int64, torch.int32)


def other_devices(graph: Graph, unknown: Mismatch, message: str) -> Mismatch | None:
    devices = {str(ref.device) for ref in unknown.call.inputs if ref.shape}
    if len(devices) < 2:
        return None
    if "device" not in message and not message.startswith("Input type"):
        return None
    return _odd_pair(graph, unknown, "device")


def _odd_pair(
    graph: Graph, unknown: Mismatch, kind: Literal["dtype", "device"]
) -> Mismatch:
    """The tensor that is unlike, and one that it is unlike. A loss judges its target,
    a layer its data, unless the other is not what the model's parameters are."""
    call = unknown.call
    refs = list(call.inputs)
    if not refs:
        return unknown
    found = replace(unknown, kind=kind, name=kind)
    if unknown.loss:
        prediction, target = sides(graph, call)
        if prediction is not None and target is not None:
            left, right = _whole(call, prediction), _whole(call, target)
            return replace(found, left=left, right=right)
    own = [ref for ref in refs if graph.is_parameter(ref.id)]
    data = [ref for ref in refs if not graph.is_parameter(ref.id)]
    for ref in data:
        others = own or [other for other in data if other.id != ref.id]
        for other in others:
            if getattr(ref, kind) != getattr(other, kind):
                if at_home(graph, ref.id, kind):
                    ref, other = other, ref
                left, right = _whole(call, ref), _whole(call, other)
                return replace(found, left=left, right=right)
    return replace(found, left=_whole(call, data[0] if data else refs[0]))


def at_home(graph: Graph, tensor: int | None, kind: str) -> bool:
    """Whether a tensor has the type or device that most parameters of the model have.
    Where they are spread over several, as in a model cut in two, none is at home."""
    counts = Counter(
        getattr(ref, kind)
        for info in graph.rec.modules.values()
        for ref in info.parameters
        if ref.dtype.is_floating_point
    )
    if tensor is None or not counts:
        return False
    most, count = counts.most_common(1)[0]
    home = 3 * count > 2 * sum(counts.values())
    return home and getattr(graph.tensors[tensor], kind) == most


def _whole(call: FunctionCall, ref: TensorRef) -> Spot:
    position = next(i for i, other in enumerate(call.inputs) if other is ref)
    return Spot(ref.id, None, 0, "", position)
