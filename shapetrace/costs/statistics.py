"""Many batches: how the times of a module spread over its calls, and which dimensions
of its inputs vary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shapetrace.records import ModuleCall, Recording


@dataclass(frozen=True, slots=True)
class ModuleStatistics:
    """One module over its calls; nanoseconds.

    The first call stands apart, since it warms up: caches, lazy initialisation, the
    choice of kernels. With one call alone the figures are of that one. `varying` maps
    the place of an input's dimension, `args[0] dim 0`, to the sizes it took.
    """

    name: str
    calls: int
    first_ns: int
    min_ns: int
    median_ns: int
    p95_ns: int
    max_ns: int
    varying: dict[str, tuple[int, ...]]


def statistics(rec: Recording) -> dict[str, ModuleStatistics]:
    """Statistics by module name, in the order of the first calls. Calls that
    checkpointing ran again count as calls; calls that raised do not."""
    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        if call.error is None:
            groups.setdefault(call.name, []).append(call)
    return {name: _of(name, calls, rec) for name, calls in groups.items()}


def _of(name: str, calls: Sequence[ModuleCall], rec: Recording) -> ModuleStatistics:
    # where the oldest calls were dropped, the first of all is no longer here
    warm = calls[1:] if len(calls) > 1 and not rec.dropped_calls else calls
    times = sorted(call.duration_ns for call in warm)
    return ModuleStatistics(
        name=name,
        calls=len(calls),
        first_ns=calls[0].duration_ns,
        min_ns=times[0],
        median_ns=_quantile(times, 0.5),
        p95_ns=_quantile(times, 0.95),
        max_ns=times[-1],
        varying=_varying(calls),
    )


def _quantile(ordered: Sequence[int], part: float) -> int:
    """The smallest time that at least this part of all does not exceed.

    >>> _quantile([1, 2, 3, 4], 0.5), _quantile(range(1, 101), 0.95)
    (2, 95)
    """
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


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
