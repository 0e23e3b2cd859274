"""A call put in: what may be done to a tensor where a call takes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.expected import sizes_asked
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.generate.stretched import to_one_shape
from shapetrace.diagnosis.hypothesis import Form, Hypothesis
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import (
    edited,
    edited_at,
    result_edited,
)
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.repair.orders import placements, reorder
from shapetrace.diagnosis.sites import site_of_call, site_of_data
from shapetrace.diagnosis.sizes.leaves import counts_samples
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import is_method, kind
from shapetrace.source.line import find

_STRETCHING = ("expand", "broadcast_to")
_PRODUCTS = ("matmul", "mm", "bmm", "baddbmm", "linear")
#: views behind the failure before which an order may be missing
_VIEWS = 3

Menu = Iterator[tuple[Form, Edit]]


def operands(case: Case) -> Iterator[Hypothesis | None]:
    """The failing call's own tensors."""
    refs = [ref for ref in case.operands if ref.shape or case.mismatch.kind == "rank"]
    for ref in refs:
        if case.call.name == "setitem" and ref.path == "args[0]":
            continue  # what is written to is mended where it is made
        others = [other.shape for other in refs if other is not ref]
        if case.call.name in _STRETCHING:
            others.append(sizes_asked(case.call))
        if case.layer is not None:
            held = [r for r in case.call.inputs if case.graph.is_parameter(r.id)]
            others += [r.shape for r in held[:1]]
        made = case.graph.producer(ref.id)
        if isinstance(made, FunctionCall) and made.inputs and _named_again(case, ref):
            for form, edit in menu(case, ref, others, made_here=True):
                yield result_edited(case, made, edit, form)
        rank, last_two = len(ref.shape), ""
        if case.call.name in _PRODUCTS and rank > 1:
            # as it is written for any number of dimensions
            last_two = edits.transpose(rank - 2, rank - 1).text
            yield edited(case, ref, edits.transpose(-2, -1))
        for form, edit in menu(case, ref, others):
            if edit.text != last_two:
                yield edited(case, ref, edit, form)


def results(case: Case) -> Iterator[Hypothesis | None]:
    """What the user's functions made, for all that take it: a tensor that is used again
    is mended where it is made."""
    wanted = [ref.shape for ref in case.operands]
    for number, behind in enumerate(case.behind):
        call = behind.call
        if number >= 12:
            return
        if isinstance(call, FunctionCall) and call.direct and call.outputs:
            made = call.outputs[0]
            if call.parent is None and not call.inputs:
                continue  # the user's data, which is asked for elsewhere
            if behind.hops > 0 or len(case.graph.users.get(made.id, ())) > 1:
                for form, edit in menu(case, made, wanted, made_here=True):
                    yield result_edited(case, call, edit, form)


def earlier(case: Case) -> Iterator[Hypothesis | None]:
    """An order of dimensions that is missing before a view, or before a pooling, which
    takes the last dimensions for space."""
    for behind in case.behind:
        call = behind.call
        if _pools(case, call) and len(call.inputs[0].shape) in (3, 4):
            rank = len(call.inputs[0].shape)
            yield edited_at(
                case,
                call,
                call.inputs[0],
                edits.classes_second(rank),
                site=site_of_call(case.graph, call),
            )
    found = 0
    for call in own_calls(case):
        if call.name not in ("view", "reshape", "flatten") or not call.inputs:
            continue
        ref = call.inputs[0]
        for a, b in combinations(range(len(ref.shape)), 2):
            if len(ref.shape) <= 4:
                yield edited_at(case, call, ref, edits.transpose(a, b))
        found += 1
        if found >= _VIEWS:
            return


def _named_again(case: Case, ref: TensorRef) -> bool:
    """Whether the failing statement names a tensor more than once."""
    line = find(case.call.source)
    taken = next((one for one in case.call.inputs if one.id == ref.id), None)
    if line is None or taken is None:
        return False
    node = line.argument(taken.path, is_method(case.call))
    if not isinstance(node, ast.Name):
        return False
    return len(re.findall(rf"\b{node.id}\b", line.around(line.code))) > 1


def _pools(case: Case, call: Call) -> bool:
    """Whether a call makes fewer places of those in its input, without a parameter."""
    if not call.inputs or any(case.graph.is_parameter(r.id) for r in call.inputs):
        return False
    if isinstance(call, FunctionCall):
        return call.direct and "pool" in call.name
    info = case.graph.rec.modules.get(call.name)
    return info is not None and "Pool" in info.type


def inputs(case: Case) -> Iterator[Hypothesis | None]:
    """The model's own input, in another layout, with or without a batch."""
    top = case.root()
    if top is None or top is case.layer or not top.inputs:
        return
    ref = top.inputs[0]
    if ref.id in {r.id for r in case.operands} or case.graph.from_model(ref.id):
        return
    site = site_of_data(case.graph, ref.id)
    for form, edit in _layouts(ref):
        made = edited_at(case, top, ref, edit, form, site, once="input layout")
        yield made and replace(made, hops=len(case.behind))


def _layouts(ref: TensorRef) -> Menu:
    """Layouts that users' data comes in, the commonest first."""
    shape, rank = ref.shape, len(ref.shape)
    if rank == 4:
        yield "insert", edits.permute(0, 3, 1, 2)
    if rank == 3:
        yield "insert", edits.unsqueeze(0, "adds the batch dimension")
        yield "insert", edits.transpose(1, 2)
        yield "insert", edits.transpose(0, 1)
        yield "insert", edits.unsqueeze(1, "adds the channel dimension")
    if rank in (1, 2):
        yield "insert", edits.unsqueeze(1, "adds a dimension of size 1")
        yield "insert", edits.unsqueeze(0, "adds the batch dimension")
        yield "insert", edits.unsqueeze(-1, "adds a dimension of size 1 at the end")
    if rank > 2:
        yield "insert", edits.flatten(1)
    if rank > 2 and shape[-3] == 1:
        yield "insert", edits.expand_channels(3, rank)
    for dim in range(1, rank):
        if shape[dim] == 1:
            yield "insert", edits.squeeze(dim)


def menu(
    case: Case, ref: TensorRef, others: list[tuple[int, ...]], made_here: bool = False
) -> Menu:
    """What may be done to a tensor that meets tensors of those shapes."""
    shape, rank = ref.shape, len(ref.shape)
    if case.mismatch.silent:
        for other in others:
            data = not case.graph.from_model(ref.id)
            for edit in to_one_shape(shape, other, data):
                yield "insert", edit
        return
    for dim in reversed(range(rank)):
        if shape[dim] == 1:
            yield "insert", edits.squeeze(dim)
    for other in others:
        if rank < len(other):
            channels = [dim for dim in range(1, len(other) - 1) if rank == 1]
            channels = [dim for dim in channels if (other[dim],) == shape != (1,)]
            if not channels or _counts_samples(case, ref):
                yield "insert", edits.trailing(len(other) - rank)
            for dim in channels:  # one number a channel
                yield "insert", edits.trailing(len(other) - 1 - dim)
            for places in placements(shape, other)[:3]:
                yield "insert", edits.spread(places, len(other))
        order = reorder(shape, other)
        if order is not None:
            yield "insert", order
        fewer = 0 < len(other) <= rank and other != shape
        if fewer and prod(other) == prod(shape) and not _but_for_one(shape, other):
            yield "insert", edits.viewed(other)
    if rank < 5:
        for dim in (1, 0, -1, *range(2, rank)):
            if -rank - 1 <= dim <= rank:
                yield "insert", edits.unsqueeze(dim)
    if 1 < rank <= 4:
        for a, b in combinations(range(rank), 2):
            yield "insert", edits.transpose(a, b)
    if rank == 4:
        yield "insert", edits.permute(0, 3, 1, 2)
        yield "insert", edits.permute(0, 2, 3, 1)
    if rank == 3:
        yield "insert", edits.permute(1, 2, 0)
        yield "insert", edits.permute(2, 0, 1)
    if rank > 2:
        yield "insert", edits.flatten(1)
        yield "insert", edits.flatten(0, 1)
        if rank > 3:
            yield "insert", edits.flatten(2)
            yield "insert", edits.flatten(0, 2)
    if rank == 4 and not made_here:
        yield "reduce", edits.pool()
    for dim in range(1, rank):
        if shape[dim] > 1:
            # class numbers and indices are not added up
            for word in ("sum", "mean") if ref.dtype.is_floating_point else ():
                yield "reduce", edits.reduced(
                    word, dim - rank if dim == rank - 1 else dim
                )
            yield "reduce", edits.selected(dim)
    if rank > 1:
        yield "reduce", edits.selected(0)
    if made_here:
        return
    if rank > 1:
        yield "insert", edits.flatten()
    yield from _resizing(case, ref, others)


def _counts_samples(case: Case, ref: TensorRef) -> bool:
    """Whether a tensor has the samples first."""
    trail = case.graph.trail(ref.id, 0)
    return counts_samples(case.graph, trail.hops, trail.end)


def _but_for_one(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a shape is another one with a dimension of size 1 among: squeezing it
    is the same thought as a view."""
    places = (at for at, size in enumerate(shape) if size == 1)
    return any(shape[:at] + shape[at + 1 :] == other for at in places)


def _resizing(case: Case, ref: TensorRef, others: list[tuple[int, ...]]) -> Menu:
    """Parts left out, sizes repeated, maps resized: what fits sizes by losing some."""
    shape, rank = ref.shape, len(ref.shape)
    for other in others:
        if len(other) == rank:
            differ = [d for d in range(rank) if shape[d] != other[d] and other[d] > 1]
            if len(differ) == 1:
                dim = differ[0]
                if shape[dim] > other[dim]:
                    if _may_be_cut(case, ref, dim):
                        yield "cut", edits.cut(dim, other[dim], rank)
                elif shape[dim] > 1 and other[dim] % shape[dim] == 0:
                    if not _may_be_cut(case, ref, dim) and dim:
                        continue  # features of a layer are not to be repeated
                    times = other[dim] // shape[dim]
                    yield "insert", edits.interleaved(times, dim)
            if rank == 4 and differ and set(differ) <= {2, 3}:
                if ref.dtype.is_floating_point:
                    yield "cut", edits.resize(other[2:], shape[2:])
                if all(shape[d] >= other[d] for d in differ):
                    yield "cut", edits.cropped(*other[2:])
        elif rank > 1 and len(other) > rank and other[-rank:] == shape:
            continue
        if len(other) == rank + 1 and kind(case.call.name) == "join":
            for dim in range(1, rank):
                same = {(r.id, dim) for r in case.call.inputs if r.shape == other}
                text = case.spelled_size(case.call, other[dim], same) or ""
                yield "insert", edits.repeated_along(dim, other[dim], rank, text)
        if len(other) == rank + 1 and case.graph.is_parameter(ref.id):
            call = case.layer or case.call
            batch = {(r.id, 0) for r in call.inputs if r.shape == other}
            text = case.spelled_size(call, other[0], batch) or ""
            yield "insert", edits.expand_batch(other[0], rank, text)
    clash = case.mismatch
    for spot, wanted in ((clash.left, clash.right), (clash.right, clash.left)):
        if spot is None or wanted is None or spot.tensor != ref.id:
            continue
        if spot.dim is None or spot.dim >= rank or wanted.size < 1:
            continue
        dim = spot.dim
        if shape[dim] > wanted.size and _may_be_cut(case, ref, dim):
            yield "cut", edits.cut(dim, wanted.size, rank)
            if shape[dim] == wanted.size + 1:
                yield "cut", edits.cut_front(dim, wanted.size)
        if shape[dim] == 1 and wanted.size > 1 and not _of_weights(case, ref.id):
            yield "insert", edits.expanded(dim, wanted.size, rank)
        if shape[dim] > 1 and wanted.size % shape[dim] == 0:
            if _may_be_cut(case, ref, dim) or not dim:
                yield "insert", edits.interleaved(wanted.size // shape[dim], dim)
        if rank > 2 and shape[-3] == 1 and dim == rank - 3:
            yield "insert", edits.expand_channels(wanted.size, rank)
        if rank == 4 and shape[1] == 3 and wanted.size == 1 and dim == 1:
            yield "cut", edits.mean_channels(rank)
        if rank == 4 and shape[1] == 4 and wanted.size == 3 and dim == 1:
            yield "cut", Edit(
                "{}[:, :3]", lambda t: t[:, :3], "drops the alpha channel"
            )


def _of_weights(case: Case, tensor: int) -> bool:
    """Whether a tensor is a parameter or made of parameters alone: one weight for all
    features is no layer."""
    behind = case.graph.behind(tensor, lambda call: call.inputs)
    return all(case.graph.is_parameter(at) for at, call in behind if call is None)


def _may_be_cut(case: Case, ref: TensorRef, dim: int) -> bool:
    """Steps of a sequence or rows of an image may be left out; not how many features a
    layer gives, nor samples that went through the model, nor a part of a product."""
    end = case.graph.trail(ref.id, dim).end
    if end.kind in ("parameter", "branch"):
        return False
    return dim > 0 or not case.graph.from_model(ref.id)
