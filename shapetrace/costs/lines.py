"""The time by line of the user's code, inside modules and outside of them.

Each stretch of recorded time belongs to one line: that of a function is its line's;
what a module call does besides is the time of the line that called it; an optimizer's
step and the batches of a loader are those of the lines that asked for them. So the
times of all lines add up to the time that was recorded, but for what the tracer itself
took of it, and for what was waited for a processor, where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shapetrace.costs.account import Costs
from shapetrace.costs.statistics import batches
from shapetrace.costs.times import Corrected, Times, corrected
from shapetrace.records import ModuleCall, Range, Recording, Source


@dataclass(slots=True)
class LineCost:
    """One line of code. Nanoseconds, bytes; FLOPs of the functions called there.

    `calls` counts the functions, modules and ranges that it called.
    `backward_ns` and `saved_bytes` are those of the module calls that it made, without
    the calls inside them; None where not recorded, or unknown. Of several batches
    `saved_bytes` is that of the one that saved most.
    """

    source: Source | None
    calls: int = 0
    time_ns: int = 0
    backward_ns: int | None = None
    saved_bytes: int | None = None
    moved_bytes: int | None = None
    flops: int | None = None
    backward_flops: int | None = None
    #: what was called there: "linear", "Optimizer.step#AdamW.step"
    names: tuple[str, ...] = ()

    def add(self, name: str, time_ns: int) -> None:
        self.calls += 1
        self.time_ns += time_ns
        if name not in self.names:
            self.names += (name,)


def by_line(rec: Recording, costs: Costs) -> list[LineCost]:
    """The lines, most time first."""
    lines: dict[Source | None, LineCost] = {}

    def line(source: Source | None) -> LineCost:
        key = None if source is None else Source(source.file, source.line)
        if key not in lines:
            lines[key] = LineCost(source)
        return lines[key]

    times = corrected(rec) or _as_recorded(rec)
    own = [one.self_ns for one in times.calls]
    ranges = sorted(rec.ranges, key=lambda one: (one.start_ns, -one.duration_ns))
    left = {id(one): one.duration_ns for one in ranges}
    within = _within(ranges, [call.start_ns for call in rec.functions])
    for function, around in zip(rec.functions, within, strict=True):
        at, spent = line(function.source), times.functions[function.index]
        at.add(function.name, spent)
        at.flops = _plus(at.flops, costs.function_flops[function.index])
        back = costs.function_backward_flops[function.index]
        at.backward_flops = _plus(at.backward_flops, back)
        moved = costs.function_moved_bytes[function.index]
        at.moved_bytes = _plus(at.moved_bytes, moved)
        if function.parent is not None:
            own[function.parent] -= spent
        elif around is not None:
            tracers = times.around[function.index]
            left[id(around)] -= function.duration_ns + tracers
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    for call, around in zip(
        tops, _within(ranges, [call.start_ns for call in tops]), strict=True
    ):
        if around is not None:
            left[id(around)] -= call.duration_ns
    elsewhere = [one for one in times.waits if one.function is None is one.call]
    for wait, around in zip(
        elsewhere, _within(ranges, [one.at_ns for one in elsewhere]), strict=True
    ):
        if around is not None:
            left[id(around)] -= wait.waited_ns
    for inner, around in zip(ranges, _around(ranges), strict=True):
        if around is not None:
            left[id(around)] -= inner.duration_ns
    for one in ranges:
        line(one.source).add(one.name, max(0, left[id(one)]))
    for call in rec.calls:
        at = line(call.source)
        if call.recomputed:
            continue  # it is in the time of the backward that ran it again
        at.add(call.type, max(0, own[call.index]))
    for call, took in _own(rec, "backward_ns"):
        at = line(call.source)
        at.backward_ns = _plus(at.backward_ns, took)
    _saved(rec, line)
    return sorted(lines.values(), key=lambda one: -one.time_ns)


def _as_recorded(rec: Recording) -> Times:
    return Times(
        [Corrected(call.duration_ns, call.self_ns, 0) for call in rec.calls],
        [call.duration_ns for call in rec.functions],
        [0] * len(rec.functions),
        [],
    )


def _within(ranges: Iterable[Range], starts: list[int]) -> list[Range | None]:
    """The innermost range around each of these moments, which are in any order."""
    found: list[Range | None] = [None] * len(starts)
    waiting = sorted(range(len(starts)), key=starts.__getitem__)
    open_: list[Range] = []
    ahead = iter(ranges)
    following = next(ahead, None)
    for at in waiting:
        while following is not None and following.start_ns <= starts[at]:
            open_.append(following)
            following = next(ahead, None)
        while open_ and open_[-1].start_ns + open_[-1].duration_ns <= starts[at]:
            open_.pop()
        found[at] = open_[-1] if open_ else None
    return found


def _around(ranges: list[Range]) -> list[Range | None]:
    found: list[Range | None] = []
    open_: list[Range] = []
    for one in ranges:
        while open_ and open_[-1].start_ns + open_[-1].duration_ns <= one.start_ns:
            open_.pop()
        found.append(open_[-1] if open_ else None)
        open_.append(one)
    return found


def _saved(rec: Recording, line: Callable[[Source | None], LineCost]) -> None:
    """Of the batch that saved most, since what one saves is gone with the next."""
    turn = batches(rec)
    lines: dict[int, tuple[LineCost, dict[int, int | None]]] = {}
    for call, value in _own(rec, "saved_bytes"):
        at = line(call.source)
        _, sums = lines.setdefault(id(at), (at, {}))
        before = sums.get(turn[call.index], 0)
        known = before is not None and value is not None
        sums[turn[call.index]] = (before or 0) + (value or 0) if known else None
    for at, sums in lines.values():
        found = sums.values()
        at.saved_bytes = None if None in found else max(one or 0 for one in found)


def _own(rec: Recording, name: str) -> list[tuple[ModuleCall, int | None]]:
    """What the module calls have of a field, without what the calls inside them have;
    but those that checkpointing ran again."""
    own: list[int | None] = [getattr(call, name) for call in rec.calls]
    for call in rec.calls:
        value = getattr(call, name)
        if call.parent is not None and value is not None:
            above = own[call.parent]
            own[call.parent] = None if above is None else above - value
    return [
        (call, None if value is None else max(0, value))
        for call, value in zip(rec.calls, own, strict=True)
        if not call.recomputed
    ]


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other
