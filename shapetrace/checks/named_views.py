"""Views that ask for a dimension by the name of its size, and get another as long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.context import CheckContext
from shapetrace.checks.lines import operand, sizes_of
from shapetrace.checks.trying import Change, Step, written
from shapetrace.lineage.factors import Root
from shapetrace.records import Fix, FunctionCall
from shapetrace.source.sizes import sizes_at


class Misnamed(NamedTuple):
    """A view whose dimension `dim` is asked for by `name`, which is the size of the
    input's dimension `wanted`, and is the input's dimension `got`."""

    call: FunctionCall
    name: str
    dim: int
    wanted: int
    got: int


def misnamed(context: CheckContext) -> Iterator[Misnamed]:
    """The views of the code in which one name stands where another one, known there
    too, belongs: with other sizes their contents would be mixed."""
    seen = set()
    for call in context.of_kind("view"):
        if call.source is None or not call.direct or call.source in seen:
            continue
        seen.add(call.source)
        pairs = list(_confused(context, call))
        if not pairs:
            continue
        asked = sizes_of(call)
        names = {size.text: size for size in sizes_at(context.graph.rec, call)}
        if len(asked) != len((call.outputs or ())[0].shape):
            continue
        known = {
            text: context.axes.roots(size.tensor, size.dim)
            for text, size in names.items()
            if size.named and size.tensor is not None and size.dim is not None
        }
        for dim, wanted, got in pairs:
            there = known.get(asked[dim])
            if there is None or asked.count(asked[dim]) > 1:
                continue
            if there == _roots(context, call, wanted) and any(
                roots == _roots(context, call, got) for roots in known.values()
            ):
                yield Misnamed(call, asked[dim], dim, wanted, got)


def _confused(
    context: CheckContext, call: FunctionCall
) -> Iterator[tuple[int, int, int]]:
    """The dimensions of a view's result that are one of its input's, with another one
    of the input that is as long, is joined with others, and could be meant."""
    given, made = call.inputs[0], (call.outputs or ())[0]
    whole = {
        _roots(context, call, dim): dim
        for dim in range(len(given.shape))
        if given.shape[dim] > 1 and context.axes.sure(given.id, dim)
    }
    kept = [context.axes.roots(made.id, dim) for dim in range(len(made.shape))]
    for dim, roots in enumerate(kept):
        got = whole.get(roots)
        for other, wanted in whole.items():
            if got is None or given.shape[wanted] != made.shape[dim]:
                continue
            if other != roots and not other & roots and other not in kept:
                yield dim, wanted, got


def _roots(context: CheckContext, call: FunctionCall, dim: int) -> frozenset[Root]:
    return context.axes.roots(call.inputs[0].id, dim)


def exchanged(context: CheckContext, found: Misnamed) -> Fix | None:
    """The line with both dimensions of the input in each other's place."""
    given = found.call.inputs[0]
    order = list(range(len(given.shape)))
    order[found.wanted], order[found.got] = found.got, found.wanted
    steps: tuple[Step, ...] = (("permute", tuple(order)),)
    if found.call.name == "view":  # which takes no permuted tensor
        steps = (*steps, ("contiguous", None))
    line = operand(found.call, given, written(steps), "x")
    return context.trial(line, Change(found.call, given.path, steps))


def folds(context: CheckContext, call: FunctionCall, views: set[int]) -> bool:
    """Whether the line cuts a tensor of that shape into parts, of which only this
    number gives the sizes another order: 1, 2 and 4 stripes of 8 rows of 4."""
    return call.source is not None and any(
        other.source == call.source and other.index not in views
        for other in context.of_kind("view")
        if other.inputs and other.inputs[0].shape == call.inputs[0].shape
    )
