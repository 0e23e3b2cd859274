"""The times of module calls without what the tracer itself took of them.

A call's own time is that of its functions, and what lies between them: the model's own
Python code and the tracer's, a part of which it saw itself take. How dear the rest was
in this very batch, whose caches may have been cold, is told by torch's own innermost
layers, between whose functions there is next to nothing else. For how long the thread
waited for a processor, which is in no corrected time, Linux says. Functions themselves
run slower beside the tracer, which takes their place in the caches. What is inside a
call is never more than the call, and no call is less than its functions would be
without the tracer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from statistics import median, median_low
from typing import NamedTuple

from shapetrace.costs.forwards import is_long, tensor_reads
from shapetrace.costs.repeat import is_python
from shapetrace.costs.statistics import batches
from shapetrace.costs.waiting import Wait, waits
from shapetrace.recording.warned_from import USUAL_LEVEL
from shapetrace.records import FunctionCall, Overhead, Recording

#: how many times as dear as in a warm cache the tracer may be found to have been
_LEAST, _MOST = 0.7, 3.0
#: how much of that it is between functions that no hooks of modules come between: 0.1
#: to 0.4 were seen in steps of optimizers
_COLD_OUTSIDE = 1 / 3
#: a layer of torch's between whose functions is so much more has Python of its own
_MORE = 1.4
#: whose forward is a loop over the modules in it, and nothing else
_LOOP = "torch.nn.modules.container.Sequential"
#: by which part the time that is left between functions may be off, of a layer whose
#: every cost is known; and by which part of the tracer's cost otherwise
_OFF, _OFF_OTHERS = 0.25, 0.15
#: what leaves no event looks like Python of the model's own
_OFF_UNSEEN, _OFF_UNSEEN_MOST = 0.5, 40_000.0
#: by which part of it the slowing of functions beside the tracer may be off, and by
#: which part of the time of a function, up to so many times the most it is slowed by:
#: convolutions of 50 microseconds were slowed by an eighth
_OFF_SLOWER, _OFF_FUNCTIONS, _OFF_MOST = 0.5, 0.15, 2.0


class Corrected(NamedTuple):
    """Nanoseconds; by `uncertain_ns` an untraced batch may take more or less: for how
    far the correction may be off, and since the same work swings on a machine."""

    total_ns: int
    self_ns: int
    uncertain_ns: int


class Times(NamedTuple):
    """Of the module calls; of each function, what it took, and what the tracer took
    around it where that is in no module call's time. `waits` are in none of these."""

    calls: list[Corrected]
    functions: list[int]
    around: list[int]
    waits: list[Wait]


class _Own:
    """What one call's own time is made of, in nanoseconds."""

    __slots__ = ("functions", "slower", "off", "tracer", "bare", "waited")

    def __init__(self, cost: Overhead) -> None:
        self.functions = 0.0
        #: by how much they are slower beside the tracer
        self.slower = 0.0
        #: by how much that may be more or less
        self.off = 0.0
        #: what the tracer takes between the functions, in a warm cache
        self.tracer = cost.module_inside
        #: what is there without it: the calls of modules, reading their parameters
        self.bare = cost.layer_bare
        #: for a processor, in the functions or between them
        self.waited = 0


def corrected(rec: Recording) -> Times | None:
    """None where the tracer's cost is unknown."""
    cost = rec.overhead
    if cost is None or not rec.has_timing:
        return None
    waited = waits(rec)
    own, took = _made_of(rec, cost, waited)
    between = [
        max(0.0, call.self_ns - one.waited - one.functions - call.tracer_ns)
        for call, one in zip(rec.calls, own, strict=True)
    ]
    turn = batches(rec)
    shares, cold = _shares(rec, turn, own, between, cost.uncertainty)
    totals, uncertain = [0] * len(own), [0.0] * len(own)
    found: list[Corrected] = []
    for call in reversed(rec.calls):  # what is inside a call comes after it
        at, parent = call.index, call.parent
        left, off, unseen = shares[at]
        most = float(max(0, call.self_ns - own[at].waited))
        functions = max(0.0, min(own[at].functions, most) - own[at].slower)
        time = round(functions + left * between[at])
        totals[at] += time
        uncertain[at] += off * between[at] + own[at].off
        uncertain[at] += min(unseen * left * between[at], _OFF_UNSEEN_MOST)
        uncertain[at] += cost.swing * time
        found.append(Corrected(totals[at], time, round(uncertain[at])))
        if parent is not None and rec.calls[parent].thread == call.thread:
            totals[parent] += totals[at]
            uncertain[parent] += uncertain[at]
    return Times(found[::-1], took, _outside(rec, cost, turn, cold), waited)


def _outside(
    rec: Recording, cost: Overhead, turn: Sequence[int], cold: Sequence[float]
) -> list[int]:
    """What the tracer took around each function outside of modules, of which it is told
    by the batch that began last how dear it was."""
    around = [0] * len(rec.functions)
    tops = [call for call in rec.calls if call.parent is None and call.thread == 0]
    starts = [call.start_ns for call in tops]
    for function in rec.functions:
        if function.parent is None:
            unseen = _around(function, cost) + function.attribute_reads * cost.attribute
            if tops:
                last = max(0, bisect_right(starts, function.start_ns) - 1)
                unseen *= 1 + _COLD_OUTSIDE * (cold[turn[tops[last].index]] - 1)
            around[function.index] = round(function.tracer_ns + unseen)
    return around


def _made_of(
    rec: Recording, cost: Overhead, waited: Sequence[Wait]
) -> tuple[list[_Own], list[int]]:
    """What the own time of calls is made of, and what each function took."""
    functions: list[int] = []
    own = [_Own(cost) for _ in rec.calls]
    reads = {name: tensor_reads(info) for name, info in rec.modules.items()}
    for call in rec.calls:
        if call.parent is not None and rec.calls[call.parent].thread == call.thread:
            own[call.parent].tracer += cost.module - cost.module_inside
            own[call.parent].bare += cost.module_bare
        own[call.index].tracer += call.attribute_reads * cost.attribute
        own[call.index].bare += reads.get(call.name, 0) * cost.parameter_bare
    put_off: dict[int, int] = {}
    for one in waited:
        inside = one.call
        if one.function is not None:
            at = one.function
            put_off[at] = put_off.get(at, 0) + one.waited_ns
            inside = rec.functions[at].parent
        if inside is not None:
            own[inside].waited += one.waited_ns
    before = ""
    for function in rec.functions:
        ran = function.duration_ns - put_off.get(function.index, 0)
        standing, most = 0.0, cost.slower_most
        if is_python(function.qualname):
            standing = _further_stand_ins(function) * cost.stand_in
            most = cost.slower_most_in_python
        took = max(0.0, ran - cost.function_inside - standing)
        slower = maybe = min(took * cost.slower, most)
        if function.qualname == before:  # what has just run is in the caches, or some
            slower = 0.0
        before = function.qualname
        functions.append(round(took - slower))
        if function.parent is not None:
            parent = own[function.parent]
            parent.functions += took
            parent.slower += slower
            swings = min(took * _OFF_FUNCTIONS, _OFF_MOST * most)
            parent.off += max(swings, maybe - slower)
            parent.off += standing  # twice as dear in a cold cache
            parent.off += (_OFF_SLOWER + cost.uncertainty) * slower
            parent.tracer += _around(function, cost)
    return own, functions


def _further_stand_ins(function: FunctionCall) -> int:
    """A function that is told to warn of a caller further out is called through one for
    each frame between."""
    level: object = function.kwargs.get("_stacklevel")
    return max(0, level - USUAL_LEVEL) if isinstance(level, int) else 0


def _around(function: FunctionCall, cost: Overhead) -> float:
    """What the tracer takes for one function unseen, in a warm cache."""
    spent = cost.function
    if is_python(function.qualname):
        spent = cost.python_function
    made = [ref.path for ref in function.outputs or ()]
    return spent if made == ["output"] else max(0.0, spent - cost.ending)


#: calls of one batch, of one type, in which the tracer has as much to do
Group = tuple[int, str, int]


def _shares(
    rec: Recording,
    turn: Sequence[int],
    own: Sequence[_Own],
    between: Sequence[float],
    uncertainty: float,
) -> tuple[list[tuple[float, float, float]], list[float]]:
    """Of each call: which part of what lies between its functions is not the tracer's,
    by which part of it that may be off, and which part of what is left may be the
    tracer's all the same. A group has it in common: a call that was
    interrupted is no measure of the others. And how dear the tracer was in each batch.
    """
    parents = {call.parent for call in rec.calls}
    groups: dict[Group, list[int]] = {}
    torchs: set[Group] = set()
    long: set[Group] = set()
    looping: set[Group] = set()
    innermost: dict[int, list[Group]] = {}
    for call in rec.calls:
        key = (turn[call.index], call.type, round(own[call.index].tracer))
        if key not in groups:
            groups[key] = []
            info = rec.modules.get(call.name)
            if info is not None and is_long(info):
                long.add(key)
            if info is not None and info.qualname == _LOOP:
                looping.add(key)
            if info is not None and info.qualname.startswith("torch.nn."):
                torchs.add(key)
                if call.index not in parents:
                    innermost.setdefault(key[0], []).append(key)
        groups[key].append(call.index)
    dear = {
        key: median(
            between[at] / (own[at].tracer + own[at].bare or 1.0) for at in calls
        )
        for key, calls in groups.items()
    }
    found = [(0.0, 0.0, 0.0)] * len(own)
    known = {at: _cold(keys, dear, groups) for at, keys in innermost.items()}
    usual = median(known.values()) if known else 1.0
    cold = [known.get(at, usual) for at in range(max(turn, default=-1) + 1)]
    # where measuring the tracer's cost gave now this and now that, the machine is busy
    off_others = _OFF_OTHERS + uncertainty
    for key, calls in groups.items():
        tracer = sum(own[at].tracer for at in calls)
        bare = sum(own[at].bare for at in calls)
        least = bare / (tracer + bare or 1.0)
        # as cold as the tracer's, or as warm as in a loop
        warm = 1 - 1 / max(dear[key], 1.0)
        share, off = least, least * max(_OFF + uncertainty, warm)
        unseen = _OFF_UNSEEN if key in long else 0.0
        more = dear[key] > _MORE * cold[key[0]] and key not in looping
        if key not in torchs or more:
            taken = cold[key[0]] * (1 - least) / (dear[key] or 1.0)
            share, off = max(least, 1 - taken), min(taken, 1.0) * off_others
            unseen = _OFF_UNSEEN
        for at in calls:
            found[at] = share, off, unseen
    return found, cold


def _cold(
    keys: Iterable[Group], dear: dict[Group, float], groups: dict[Group, list[int]]
) -> float:
    """How many times as dear as in a warm cache the tracer was in one batch: the median
    of its layers, since some have more to do than call functions."""
    times = [dear[key] for key in keys for _ in groups[key]]
    return min(max(median_low(times), _LEAST), _MOST)
