"""Where the tracing thread waited for a processor that other work had.

A recording says between which moments it waited how long. Of what it did between them
the longest stretch is where, a function or a call of a module between its functions, or
a range such as a loader's; what does not fit into that was in the next longest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from shapetrace.records import FunctionCall, ModuleCall, Recording, Waiting

#: less than this is a matter of where stamps are taken
_REST = 50_000
_START = attrgetter("start_ns")


class Wait(NamedTuple):
    """In a function, or else in the own time of a module call, or in none."""

    at_ns: int
    waited_ns: int
    function: int | None
    call: int | None


def waits(rec: Recording) -> list[Wait]:
    """In the order in which they were."""
    if not rec.waiting:
        return []
    calls = [call for call in rec.calls if call.thread == 0]
    functions = sorted(rec.functions, key=_START)
    ends = [one.start_ns + one.duration_ns for one in rec.ranges]
    edges = sorted([*ends, *(one.start_ns for one in rec.ranges)])
    return [
        wait
        for one in rec.waiting
        for wait in _placed(rec, calls, functions, edges, one)
    ]


def _placed(
    rec: Recording,
    calls: list[ModuleCall],
    functions: list[FunctionCall],
    edges: list[int],
    waiting: Waiting,
) -> Iterator[Wait]:
    begin, end, left = waiting.start_ns, waiting.end_ns, waiting.waited_ns
    first, last = (bisect_left(calls, at, key=_START) for at in (begin, end))
    near = [*calls[first:last], *_around(rec, calls[first - 1] if first else None)]
    first, last = (
        bisect(functions, at, key=_START)
        for bisect, at in ((bisect_left, begin), (bisect_right, end))
    )
    called = functions[max(0, first - 1) : last]  # it may begin inside of a backward
    both: list[ModuleCall | FunctionCall] = [*near, *called]
    spans = [(one.start_ns, one.start_ns + one.duration_ns) for one in both]
    found = edges[bisect_right(edges, begin) : bisect_left(edges, end)]
    marks = sorted({begin, end, *found, *(at for span in spans for at in span)})
    marks = [at for at in marks if begin <= at <= end]
    stretches = sorted(
        zip(marks, marks[1:], strict=False), key=lambda pair: pair[0] - pair[1]
    )
    for since, until in stretches:
        function, call = _innermost(called, since), _innermost(near, since)
        if function is not None and call is not None:
            # a backward that runs a forward again has its calls inside it
            if rec.functions[function].start_ns < rec.calls[call].start_ns:
                function = None
        yield Wait(since, min(left, until - since), function, call)
        left -= until - since
        if left < _REST:
            break


def _innermost(some: Sequence[ModuleCall | FunctionCall], at: int) -> int | None:
    """Of those that have begun by then and have not ended."""
    found = [
        (one.start_ns, one.index)
        for one in some
        if one.start_ns <= at < one.start_ns + one.duration_ns
    ]
    return max(found)[1] if found else None


def _around(rec: Recording, call: ModuleCall | None) -> Iterator[ModuleCall]:
    """A call, and all that it is inside."""
    while call is not None:
        yield call
        call = None if call.parent is None else rec.calls[call.parent]
