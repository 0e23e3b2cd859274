"""A recording without its first step, which warms up: caches, lazy initialisation, the
choice of kernels, the state of an optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from shapetrace.costs.phases import steps
from shapetrace.errors import UsageError
from shapetrace.records import (
    Blocked,
    FunctionCall,
    InFlight,
    LiveBytes,
    ModuleCall,
    Origin,
    Recording,
    Unseen,
    Waiting,
)

_Wait = TypeVar("_Wait", Blocked, Waiting)
_NOTE = "the first step, which warms up, is left out"


def without_first_step(rec: Recording) -> Recording:
    """The same recording from its second step on; one whose first step is gone already
    is given back as it is. Raises `UsageError` where there is no second step."""
    if not rec.has_first:
        return rec
    if not rec.has_timing:
        raise UsageError("warm() is about times, and timing=False took none.")
    found = steps(rec)
    if len(found) < 2:
        raise UsageError(
            "warm() leaves out the first step, and this trace has no second one: put "
            "two steps or more into the block."
        )
    return _from(rec, found[1].start_ns)


def _from(rec: Recording, cut: int) -> Recording:
    calls, kept = _calls(rec, cut)
    functions: list[FunctionCall] = []
    numbers: dict[int, int] = {}
    for function in rec.functions:
        inside = function.parent
        if inside in kept or inside is None and function.start_ns >= cut:
            parent = None if inside is None else kept[inside]
            at, start = len(functions), function.start_ns - cut
            numbers[function.index] = at
            functions.append(replace(function, index=at, parent=parent, start_ns=start))
    made = {ref.id for one in functions for ref in one.outputs or ()}
    given = [ref for call in calls for ref in call.inputs]
    given += [ref for function in functions for ref in function.inputs]
    earlier = {ref.id: Origin("unseen") for ref in given if ref.id not in made}
    before = [one for one in rec.live if one.time_ns < cut]
    live = [_moved(one, kept, numbers, cut) for one in rec.live if one.time_ns >= cut]
    if before:  # what is held when the second step begins
        live.insert(0, replace(before[-1], time_ns=0, call=None))
    return replace(
        rec,
        calls=calls,
        functions=tuple(functions),
        origins={**earlier, **rec.origins},
        duration_ns=rec.duration_ns - cut,
        before_ns=0,
        ranges=tuple(
            replace(one, start_ns=one.start_ns - cut)
            for one in rec.ranges
            if one.start_ns >= cut
        ),
        live=tuple(live),
        unseen=tuple(
            Unseen(one.name, None if one.call is None else kept[one.call])
            for one in rec.unseen
            if one.call is None or one.call in kept
        ),
        waiting=_later(rec.waiting, cut),
        blocked=_later(rec.blocked, cut),
        in_flight=tuple(
            InFlight(numbers[one.function], one.over_ns - cut)
            for one in rec.in_flight
            if one.function in numbers
        ),
        notes=(*rec.notes, _NOTE),
        warm=True,
    )


def _later(waits: Iterable[_Wait], cut: int) -> tuple[_Wait, ...]:
    return tuple(
        replace(one, start_ns=one.start_ns - cut, end_ns=one.end_ns - cut)
        for one in waits
        if one.start_ns >= cut
    )


def _calls(rec: Recording, cut: int) -> tuple[tuple[ModuleCall, ...], dict[int, int]]:
    """The module calls from then on, and their new indices by the old ones."""
    kept: dict[int, int] = {}
    calls: list[ModuleCall] = []
    for call in rec.calls:
        begin, parent = call.start_ns, call.parent
        if parent is not None:
            if parent not in kept:
                continue
            parent = kept[parent]
        elif begin < cut:
            if begin + call.duration_ns > cut:
                raise UsageError(
                    "warm() leaves out the first step, but all steps ran inside one "
                    f"call of {call.name or call.type}: trace the module that is "
                    "called once a step."
                )
            continue
        kept[call.index] = at = len(calls)
        calls.append(replace(call, index=at, parent=parent, start_ns=begin - cut))
    return tuple(calls), kept


def _moved(
    one: LiveBytes, kept: dict[int, int], numbers: dict[int, int], cut: int
) -> LiveBytes:
    call = None if one.call is None else kept.get(one.call)
    function = None if one.function is None else numbers.get(one.function)
    return replace(one, time_ns=one.time_ns - cut, call=call, function=function)
