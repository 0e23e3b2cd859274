"""Dimensions of different data that hold the same samples: they meet, one with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from shapetrace.lineage.dimensions import Axes
from shapetrace.lineage.factors import Root
from shapetrace.records import FunctionCall, Source, TensorRef
from shapetrace.signatures import is_elementwise, is_loss

#: with each other dimension the lines on which they meet
Met = Mapping[Root, Mapping[Root, set[Source | None]]]


def meetings(axes: Axes, calls: Iterable[FunctionCall]) -> Met:
    """For each dimension of data those of other data that it meets in calls that take
    their operands entry by entry, or in a loss that has a target for each sample."""
    found: dict[Root, dict[Root, set[Source | None]]] = {}
    for call in calls:
        for one, two in combinations(call.inputs, 2):
            for at, other in _aligned(call, one, two):
                first, second = axes.sole(one.id, at), axes.sole(two.id, other)
                if first and second and first[1] != second[1]:
                    for root, met in ((first, second), (second, first)):
                        lines = found.setdefault(root, {}).setdefault(met, set())
                        lines.add(call.source)
    return found


def paired(meetings: Met, root: Root, but: Source | None) -> set[Root]:
    """The dimensions that hold the same samples as one, itself among them, as other
    lines have it."""
    found, todo = {root}, [root]
    while todo:
        for other, lines in meetings.get(todo.pop(), {}).items():
            if other not in found and lines - {but}:
                found.add(other)
                todo.append(other)
    return found


def _aligned(
    call: FunctionCall, one: TensorRef, two: TensorRef
) -> Iterator[tuple[int, int]]:
    """The dimensions of two operands that are taken one with one."""
    if is_loss(call.name):  # the classes of a prediction stand anywhere
        pairs = [(0, 0)] if one.shape and two.shape else []
    elif is_elementwise(call.name):
        lead = len(one.shape) - len(two.shape)
        pairs = [(at, at - lead) for at in range(max(lead, 0), len(one.shape))]
    else:
        pairs = []
    for at, other in pairs:
        if one.shape[at] == two.shape[other] > 1:
            yield at, other
