"""Many batches: how the times of a module spread over its calls, and which dimensions
of its inputs vary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shapetrace.records import ModuleCall, Recording


@dataclass(frozen=True, slots=True)
class ModuleStatistics:
    """One module over its calls; nanoseconds, corrected where the tracer's own cost
    is settled.

    `first_ns` is the mean of its calls in the first batch, which warms up: caches,
    lazy initialisation, the choice of kernels; None where that batch was dropped. The
    other figures leave that batch out, where there are several. `varying` maps the
    place of an input's dimension, `args[0] dim 0`, to the sizes it took.
    """

    name: str
    calls: int
    first_ns: int | None
    min_ns: int
    median_ns: int
    p95_ns: int
    max_ns: int
    varying: dict[str, tuple[int, ...]]


def statistics(
    rec: Recording, times: Sequence[int] | None = None
) -> dict[str, ModuleStatistics]:
    """Statistics by module name, in the order of the first calls. Calls that
    checkpointing ran again count as calls; calls that raised do not. `times` stand in
    place of the recorded durations."""
    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        if call.error is None:
            groups.setdefault(call.name, []).append(call)
    spent = [call.duration_ns for call in rec.calls] if times is None else times
    turn = batches(rec)
    return {name: _of(name, calls, spent, turn, rec) for name, calls in groups.items()}


def batches(rec: Recording) -> list[int]:
    """The number of the batch of each call: a new one begins where the first of the
    outermost modules is called again."""
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    first = tops[0].name if tops else ""
    found: list[int] = []
    number = -1
    for call in rec.calls:
        if call.parent is None and not call.recomputed and call.name == first:
            number += 1
        found.append(max(0, number) if call.parent is None else found[call.parent])
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
) -> ModuleStatistics:
    # where it was dropped, or left out, the first batch of all is no longer here
    first = [spent[call.index] for call in calls if turn[call.index] == 0]
    later = [spent[call.index] for call in calls if turn[call.index] > 0]
    whole = not rec.has_first
    times = sorted(first + later if whole else later or first)
    return ModuleStatistics(
        name=name,
        calls=len(calls),
        first_ns=None if whole or not first else round(sum(first) / len(first)),
        min_ns=times[0],
        median_ns=_quantile(times, 0.5),
        p95_ns=_quantile(times, 0.95),
        max_ns=times[-1],
        varying=_varying(calls),
    )


def _quantile(ordered: Sequence[int], part: float) -> int:
    """The time that this part of all does not exceed, between two of them where it
    falls between.

    >>> _quantile([1, 2, 3, 4], 0.5), _quantile([0, 100], 0.95), _quantile([7], 0.95)
    (2, 95, 7)
    """
    place = part * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


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
