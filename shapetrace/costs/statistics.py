"""Many batches: how the times of a module spread over its calls, and which dimensions
of its inputs vary."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from shapetrace.costs.gradients import is_backward
from shapetrace.records import Figures, ModuleCall, Recording


@dataclass(frozen=True, slots=True)
class ModuleStatistics:
    """One module over its calls; nanoseconds, corrected where the tracer's own cost
    is settled. Of a long run they are those of all calls, also of the ones that were
    not kept; quantiles are then right to about 1 %.

    `first_ns` is the mean of its calls in the first batch, which warms up: caches,
    lazy initialisation, the choice of kernels; None where that batch was dropped. The
    other figures leave that batch out, where there are several. `varying` maps the
    place of an input's dimension, `args[0] dim 0`, to the sizes it took.
    """

    name: str
    calls: int
    total_ns: int
    own_ns: int
    first_ns: int | None
    min_ns: int
    median_ns: int
    p95_ns: int
    max_ns: int
    varying: dict[str, tuple[int, ...]]


def statistics(
    rec: Recording,
    times: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, ModuleStatistics]:
    """Statistics by module name, in the order of the first calls. Calls that
    checkpointing ran again count as calls; calls that raised do not. `times` stand in
    place of the recorded durations: they are of the calls that were kept, and so are
    the statistics then. `names` of the calls stand in place of their modules'."""
    groups: dict[str, list[ModuleCall]] = {}
    called = [call.name for call in rec.calls] if names is None else names
    for call, name in zip(rec.calls, called, strict=True):
        if call.error is None:
            groups.setdefault(name, []).append(call)
    between: dict[str, Figures] = {}
    if rec.left_out is not None and times is None:
        between = rec.left_out.modules
        for name in between:
            groups.setdefault(name, [])
    spent = [call.duration_ns for call in rec.calls] if times is None else times
    turn = batches(rec)
    return {
        name: _of(name, calls, spent, turn, rec, between.get(name))
        for name, calls in groups.items()
    }


def batches(rec: Recording) -> list[int]:
    """The number of the batch of each call: a new one begins where the first of the
    outermost modules is called again, but not between calls that wait for the same
    backward, as those of a siamese net and of a loop through time do."""
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    first = tops[0].name if tops else ""
    waiting = _waiting(rec)
    found: list[int] = []
    number, backward = -1, None
    for call in rec.calls:
        if call.parent is None and not call.recomputed and call.name == first:
            if backward is None or waiting.get(call.index) != backward:
                number += 1
            backward = waiting.get(call.index)
        found.append(max(0, number) if call.parent is None else found[call.parent])
    return found


def _waiting(rec: Recording) -> dict[int, int]:
    """Of the outermost calls that autograd watched, when the next backward begins."""
    begins = [call.start_ns for call in rec.functions if is_backward(call)]
    if rec.left_out is not None:  # in which there were others
        begins.append(rec.left_out.start_ns)
    begins.sort()
    tops: list[int] = []
    for call in rec.calls:
        tops.append(call.index if call.parent is None else tops[call.parent])
    watched = {
        tops[function.parent]
        for function in rec.functions
        if function.grad and function.parent is not None
    }
    found: dict[int, int] = {}
    for at in watched:
        after = bisect_left(begins, rec.calls[at].start_ns)
        if after < len(begins):
            found[at] = begins[after]
    return found


def most_held(
    name: str, calls: Iterable[ModuleCall], turn: Sequence[int]
) -> int | None:
    """Bytes of several calls: of the batch that holds most, since what one batch holds
    is gone with the next; None where one is unknown. `turn` is that of `batches`."""
    sums: dict[int, int] = {}
    for call in calls:
        value = getattr(call, name)
        if value is None:
            return None
        at = turn[call.index]
        sums[at] = sums.get(at, 0) + value
    return max(sums.values(), default=0)


def _of(
    name: str,
    calls: Sequence[ModuleCall],
    spent: Sequence[int],
    turn: Sequence[int],
    rec: Recording,
    between: Figures | None,
) -> ModuleStatistics:
    # where it was dropped, or left out, the first batch of all is no longer here
    first = [spent[call.index] for call in calls if turn[call.index] == 0]
    later = [spent[call.index] for call in calls if turn[call.index] > 0]
    whole = not rec.has_first
    if whole:
        first, later = [], first + later
    counted = [(time, 1) for time in later]
    if between is not None:
        counted += between.spread.items()
        later = [*later, between.min_ns, between.max_ns]
    counted = counted or [(time, 1) for time in first]
    more = between or Figures(0, 0, 0, 0, 0, {})
    return ModuleStatistics(
        name=name,
        calls=len(calls) + more.count,
        total_ns=sum(spent[call.index] for call in calls) + more.total_ns,
        own_ns=sum(call.self_ns for call in calls) + more.own_ns,
        first_ns=round(sum(first) / len(first)) if first else None,
        min_ns=min(later or first),
        median_ns=quantile(counted, 0.5),
        p95_ns=quantile(counted, 0.95),
        max_ns=max(later or first),
        varying=_varying(calls),
    )


def quantile(counted: Iterable[tuple[int, int]], part: float) -> int:
    """The time that this part of all does not exceed, between two of them where it
    falls between; given are times, and how many there are of each.

    >>> quantile([(1, 1), (2, 1), (3, 1), (4, 1)], 0.5), quantile([(7, 1)], 0.95)
    (2, 7)
    >>> quantile([(100, 1), (0, 1)], 0.95), quantile([(5, 98), (9, 2)], 0.95)
    (95, 5)
    """
    ordered = sorted(counted)
    ends = list(accumulate(count for _, count in ordered))
    place = part * (ends[-1] - 1)
    low = math.floor(place)
    high = min(low + 1, ends[-1] - 1)
    below, above = (ordered[bisect_right(ends, at)][0] for at in (low, high))
    return round(below + (above - below) * (place - low))


def _varying(calls: Sequence[ModuleCall]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, dict[tuple[int, ...], None]] = {}
    for call in calls:
        for ref in call.inputs:
            shapes.setdefault(ref.path, {})[ref.shape] = None
    found: dict[str, tuple[int, ...]] = {}
    for path, seen in shapes.items():
        if len(seen) < 2:
            continue
        ranks = {len(shape) for shape in seen}
        if len(ranks) > 1:
            found[f"{path} dimensions"] = tuple(sorted(ranks))
            continue
        for dim, sizes in enumerate(zip(*seen, strict=True)):
            if len(set(sizes)) > 1:
                found[f"{path} dim {dim}"] = tuple(dict.fromkeys(sizes))
    return found
