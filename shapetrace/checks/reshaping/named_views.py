"""Views that ask for a dimension by the name of its size, and get another as long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import operand, sizes_of
from shapetrace.diagnosis.repair.edits import Step
from shapetrace.diagnosis.repair.stepwise import stepwise
from shapetrace.lineage.factors import Root
from shapetrace.records import Fix, FunctionCall
from shapetrace.source.sizes import sizes_at

#: what layers make, and how often the code took something
_NO_PLACES = ("parameter", "made")


class Misnamed(NamedTuple):
    """A view whose dimension `dim` is asked for by `name`, which is the size of the
    input's dimension `wanted`, and is the input's dimension `got`. Where that is None
    it is a part of the features, and what is meant comes out as dimension `wanted`."""

    call: FunctionCall
    name: str
    dim: int
    wanted: int
    got: int | None


def misnamed(context: CheckContext) -> Iterator[Misnamed]:
    """The views of the code in which one name stands where another one, known there
    too, belongs: with other sizes their contents would be mixed."""
    seen = set()
    for call in context.of_kind("view"):
        if call.source is None or not call.direct or call.source in seen:
            continue
        seen.add(call.source)
        pairs = list(_confused(context, call))
        headed = list(_parts_for_places(context, call))
        if not pairs and not headed:
            continue
        asked = sizes_of(call)
        names = {size.text: size for size in sizes_at(context.graph.rec, call)}
        if len(asked) != len((call.outputs or ())[0].shape):
            continue
        known = {
            text: context.axes.roots(size.tensor, size.dim)
            for text, size in names.items()
            if size.tensor is not None and size.dim is not None
        }
        for dim, place in headed:
            roots = context.axes.roots((call.outputs or ())[0].id, place)
            other = asked[place]
            if known.get(asked[dim]) == roots and asked.count(asked[dim]) == 1:
                if known.get(other) != roots and other != "-1":
                    yield Misnamed(call, asked[dim], dim, place, None)
        known = {text: roots for text, roots in known.items() if names[text].named}
        for dim, wanted, got in pairs:
            there = known.get(asked[dim])
            if there is None or asked.count(asked[dim]) > 1:
                continue
            if there == _roots(context, call, wanted) and any(
                roots == _roots(context, call, got) for roots in known.values()
            ):
                yield Misnamed(call, asked[dim], dim, wanted, got)


def _parts_for_places(
    context: CheckContext, call: FunctionCall
) -> Iterator[tuple[int, int]]:
    """The dimensions of a view's result that hold a part of a layer's features, or
    count what was joined, each with one that holds places of the data, as many: heads
    and tokens, or heads and samples."""
    given, made = call.inputs[0], (call.outputs or ())[0]
    if len(made.shape) <= len(given.shape):
        return
    kept = [context.axes.roots(made.id, dim) for dim in range(len(made.shape))]
    for there, roots in enumerate(kept):
        if kept.count(roots) != 1 or not context.axes.sure(made.id, there):
            continue
        if any(one in _NO_PLACES for one, _, _ in roots):
            continue
        for dim, held in enumerate(kept):
            if made.shape[dim] == made.shape[there] > 1 and held:
                if all(one in _NO_PLACES for one, _, _ in held):
                    yield dim, there


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
    if found.got is None:
        return None
    order = list(range(len(given.shape)))
    order[found.wanted], order[found.got] = found.got, found.wanted
    steps: tuple[Step, ...] = (("permute", tuple(order)),)
    if found.call.name == "view":  # which takes no permuted tensor
        steps = (*steps, ("contiguous", None))
    line = operand(found.call, given, stepwise(*steps).text)
    return context.trial(line, Change(found.call, given.path, steps))


def folds(context: CheckContext, call: FunctionCall, views: set[int]) -> bool:
    """Whether the line cuts a tensor of that shape into parts, of which only this
    number gives the sizes another order: 1, 2 and 4 stripes of 8 rows of 4. The same
    cut once more, of a tensor whose order is not known any longer, says nothing."""
    return call.source is not None and any(
        other.source == call.source
        and other.index not in views
        and (_made(other) != _made(call) or _is_known(context, other))
        for other in context.of_kind("view")
        if other.inputs and other.inputs[0].shape == call.inputs[0].shape
    )


def _made(call: FunctionCall) -> tuple[int, ...]:
    return (call.outputs or ())[0].shape


def _is_known(context: CheckContext, call: FunctionCall) -> bool:
    given = call.inputs[0]
    return all(context.axes.sure(given.id, dim) for dim in range(len(given.shape)))
