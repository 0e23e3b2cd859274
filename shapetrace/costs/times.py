"""The times of module calls without what the tracer itself took of them.

What is inside a call is never more than the call: its time is its own and that of the
calls inside it, and its own is never corrected below the time of its functions, in
which the tracer has next to no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shapetrace.costs.repeat import is_python
from shapetrace.recording.overhead import CACHE_BYTES, FEW_ARGUMENTS
from shapetrace.records import Recording


class Corrected(NamedTuple):
    """Nanoseconds; `uncertain_ns` is how far the correction itself may be off."""

    total_ns: int
    self_ns: int
    uncertain_ns: int


def corrected(rec: Recording, moved: Sequence[int]) -> list[Corrected]:
    """Of each call; nothing where the tracer's cost is unknown. `moved` are the bytes
    that each function moves: much empties the cache, and what follows is slower."""
    cost = rec.overhead
    if cost is None or not rec.has_timing:
        return []
    count = len(rec.calls)
    spent = [cost.module_inside] * count
    floor = [0.0] * count
    cold = [False] * count
    for function in rec.functions:
        parent = function.parent
        if parent is None:
            continue
        inside = cost.function_inside
        floor[parent] += max(0.0, function.duration_ns - inside)
        if is_python(function.qualname):
            more = len(function.args) + len(function.kwargs) - FEW_ARGUMENTS
            spent[parent] += cost.python_function + cost.argument * more
        else:
            spent[parent] += cost.function
        if moved[function.index] >= CACHE_BYTES:
            cold[parent] = True
            spent[parent] += cost.function_cold
    totals, uncertain = [0] * count, [0.0] * count
    found: list[Corrected] = []
    for call in reversed(rec.calls):  # what is inside a call comes after it
        at, parent = call.index, call.parent
        least = min(floor[at], float(call.self_ns))
        own = round(max(least, call.self_ns - spent[at]))
        totals[at] += own
        uncertain[at] += (call.self_ns - own) * cost.uncertainty
        found.append(Corrected(totals[at], own, round(uncertain[at])))
        if parent is not None and rec.calls[parent].thread == call.thread:
            totals[parent] += totals[at]
            uncertain[parent] += uncertain[at]
            spent[parent] += cost.module - cost.module_inside
            if cold[at]:
                spent[parent] += cost.module_cold
                cold[parent] = True
    return found[::-1]
