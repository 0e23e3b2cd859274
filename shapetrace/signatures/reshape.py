"""view, reshape, flatten: dimensions joined and split by the factors of their sizes."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import (
    Answer,
    Dim,
    Unknown,
    all_same,
    joined,
    made,
    of,
    out_of_range,
    product,
    same,
)
from shapetrace.signatures.binding import Bound, Shape
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, How, Side


def factor(
    pos: int, old: Shape, new: Shape, free: int | None = None, told: str = ""
) -> list[Dim]:
    """The origins of the dimensions of `new`, a view of `old` of as many elements.

    Dimensions are grouped wherever the products from the left coincide, which is the
    finest grouping there is. `free` is the output dimension given as -1; `told` the
    call as written, for the note on a size that fits no boundary.
    """
    if 0 in old:
        return _empty(pos, old, new)
    result: list[Dim | None] = [None] * len(new)
    ins = [d for d, size in enumerate(old) if size != 1]
    outs = [d for d, size in enumerate(new) if size != 1]
    groups = _groups(old, new, ins, outs)
    bounds = [(-1, -1), *((a[-1], c[-1]) for a, c in groups), (len(old), len(new))]
    loose: set[int] = {d for d, size in enumerate(old) if size == 1}
    for place in range(len(bounds) - 1):
        first_in = bounds[place][0] + 1
        first_out = bounds[place][1] + 1
        next_in = groups[place][0][0] if place < len(groups) else len(old)
        next_out = groups[place][1][0] if place < len(groups) else len(new)
        ones_in = [d for d in range(first_in, next_in)]
        for d, source in zip(
            (d for d in range(first_out, next_out) if d != free), ones_in
        ):
            result[d] = same(pos, source, 1)
            loose.discard(source)
    for group_in, group_out in groups:
        _place(result, pos, old, new, group_in, group_out, told)
    if free is not None:
        result[free] = _inferred(result[free], pos, old, free, groups, loose)
    return [
        dim if dim is not None else made("new", size) for dim, size in zip(result, new)
    ]


def _groups(
    old: Shape, new: Shape, ins: list[int], outs: list[int]
) -> list[tuple[list[int], list[int]]]:
    """Runs of dimensions with equal products, from the left."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(ins) and j < len(outs):
        group_in, group_out = [ins[i]], [outs[j]]
        left, right = old[ins[i]], new[outs[j]]
        i += 1
        j += 1
        while left != right:
            if left < right:
                group_in.append(ins[i])
                left *= old[ins[i]]
                i += 1
            else:
                group_out.append(outs[j])
                right *= new[outs[j]]
                j += 1
        groups.append((group_in, group_out))
    return groups


def _place(
    result: list[Dim | None],
    pos: int,
    old: Shape,
    new: Shape,
    group_in: list[int],
    group_out: list[int],
    told: str,
) -> None:
    """The output dimensions of one group."""
    if len(group_out) == 1:
        result[group_out[0]] = product(pos, group_in, old)
        return
    parts = "·".join(str(new[d]) for d in group_out)
    if len(group_in) == 1:
        source = group_in[0]
        for d in group_out:
            result[d] = of("split", pos, source, new[d], f"{old[source]} = {parts}")
        return
    whole = "·".join(str(old[d]) for d in group_in)
    note = f"{whole} = {parts}" + (f", {told}" if told else "")
    for d in group_out:
        result[d] = joined("product", [(pos, s) for s in group_in], new[d], note)


def _inferred(
    dim: Dim | None,
    pos: int,
    old: Shape,
    free: int,
    groups: list[tuple[list[int], list[int]]],
    loose: set[int],
) -> Dim | None:
    """The dimension given as -1 takes in the ones beside it: 16·1·1 is 16."""
    group = next((g for g in groups if g[1] == [free]), None)
    if group is None:
        if dim is None and loose:
            ones = sorted(loose)
            return product(pos, ones, old)
        return dim
    dims = set(group[0])
    for step in (-1, 1):
        at = (min(dims) if step < 0 else max(dims)) + step
        while at in loose:
            dims.add(at)
            at += step
    return product(pos, sorted(dims), old)


def _empty(pos: int, old: Shape, new: Shape) -> list[Dim]:
    """With no elements the factors say nothing: equal sizes from the left."""
    result: list[Dim] = []
    aligned = True
    for d, size in enumerate(new):
        aligned = aligned and d < len(old) and old[d] == size
        result.append(same(pos, d, size) if aligned else made("argument", size))
    return result


def _sized(
    b: Bound, pos: int, old: Shape, sizes: tuple[Any, ...], other: int | None = None
) -> Answer:
    """A view to explicit sizes, one of which may be -1, or to those of `other`."""
    if any(not isinstance(size, (int, TensorRef)) for size in sizes):
        raise Unknown
    if any(isinstance(size, TensorRef) for size in sizes):
        recorded = b.call.outputs
        if not recorded or b.shapes != tuple(ref.shape for ref in b.call.inputs):
            raise Unknown
        sizes = recorded[0].shape
    whole = prod(old)
    known = prod(size for size in sizes if size != -1)
    numel = Side(pos, None, whole, "numel")
    told = Side(other, None, known, b.name)
    text = f"{b.name}({', '.join(map(str, sizes))})"
    if -1 not in sizes:
        if known != whole:
            return Answer(conflicts=[Conflict("numel", "numel", numel, told)])
        return Answer([factor(pos, old, tuple(sizes), None, text)])
    free = sizes.index(-1)
    if not known:
        raise Unknown
    if whole % known:
        return Answer(conflicts=[Conflict("divisible", "numel", numel, told)])
    new = tuple(whole // known if size == -1 else size for size in sizes)
    return Answer([factor(pos, old, new, free, text)])


@rule("view reshape", "input shape")
def view(b: Bound) -> Answer:
    """view and reshape; `view(dtype)` rescales the last dimension."""
    pos, old, _ = b.need("input")
    sizes = b.rest("shape")
    if b.call.kwargs.get("dtype") or any(
        isinstance(size, torch.dtype) for size in sizes
    ):
        return _as_dtype(b, pos, old)
    return _sized(b, pos, old, sizes)


def _as_dtype(b: Bound, pos: int, old: Shape) -> Answer:
    """The same bytes as another dtype: the last dimension grows or shrinks."""
    recorded = b.call.outputs
    if not recorded or not old or len(recorded[0].shape) != len(old):
        raise Unknown
    dims = all_same(pos, old)
    last = recorded[0].shape[-1]
    if last != old[-1]:
        how: How = "repeat" if last > old[-1] else "split"
        dims[-1] = of(how, pos, len(old) - 1, last, "view(dtype)")
    return Answer([dims])


@rule("view_as reshape_as", "input other")
def view_as(b: Bound) -> Answer:
    """The shape of another tensor."""
    pos, old, _ = b.need("input")
    other = b.need("other")
    return _sized(b, pos, old, other.shape, other.pos)


@rule("flatten", "input start_dim end_dim")
def flatten(b: Bound) -> Answer:
    """The dimensions from start to end become one."""
    pos, old, _ = b.need("input")
    rank = len(old)
    if not rank:
        return Answer([[made("new", 1)]])
    start, end = b.integer("start_dim", 0), b.integer("end_dim", -1)
    for dim in (start, end):
        if not -rank <= dim < rank:
            return Answer(conflicts=[out_of_range("input", pos, dim, rank)])
    start, end = start % rank, end % rank
    dims = all_same(pos, old)
    dims[start : end + 1] = [product(pos, list(range(start, end + 1)), old)]
    return Answer([dims])


@rule("ravel")
def ravel(b: Bound) -> Answer:
    """All dimensions become one."""
    pos, old, _ = b.need("input")
    if not old:
        return Answer([[made("new", 1)]])
    return Answer([[product(pos, list(range(len(old))), old)]])


@rule("unflatten", "input dim sizes")
def unflatten(b: Bound) -> Answer:
    """One dimension becomes several."""
    pos, old, _ = b.need("input")
    dim = b.integer("dim")
    if not -len(old) <= dim < len(old):
        return Answer(conflicts=[out_of_range("input", pos, dim, len(old))])
    dim %= len(old)
    sizes = b.rest("sizes")
    inner = _sized(b, pos, (old[dim],), sizes)
    if inner.conflicts:
        left = Side(pos, dim, old[dim], "")
        first = inner.conflicts[0]
        kind = "size" if first.kind == "numel" else first.kind
        return Answer(conflicts=[Conflict(kind, "unflatten", left, first.right)])
    dims = all_same(pos, old)
    text = f"{old[dim]} = " + "·".join(str(size) for _, size in inner.outputs[0])
    dims[dim : dim + 1] = [
        (
            same(pos, dim, old[dim])
            if size == old[dim]
            else made("new", 1) if size == 1 else of("split", pos, dim, size, text)
        )
        for _, size in inner.outputs[0]
    ]
    return Answer([dims])
