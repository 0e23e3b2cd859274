"""What is kept of module calls that are not: how many there were and what they took."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import shapetrace.torch_internals as torch_internals
from shapetrace.recording import events as raw
from shapetrace.recording.clocks import Clock
from shapetrace.recording.table import Site
from shapetrace.records import Figures, LeftOut

#: times are told apart where one is 2 to the 64th part of 1, some 1 %, above the other
_FINENESS = 64
#: what torch calls the range of an optimizer's step
STEP = "Optimizer.step#"


class Ended(NamedTuple):
    """A module call that is let go: its number, that of the call around it, stamps."""

    number: int
    around: int | None
    site: Site
    start: Any
    end: Any


class Sums:
    """Counts and times of any number of calls, in little memory."""

    def __init__(self) -> None:
        self._count = self._total = self._own = self._max = 0
        self._min: int | None = None
        self._spread: dict[int, int] = {}

    def add(self, took: int, own: int) -> None:
        self._count += 1
        self._total += took
        self._own += own
        self._min = took if self._min is None else min(self._min, took)
        self._max = max(self._max, took)
        place = round(math.log2(max(took, 1)) * _FINENESS)
        near = round(2 ** (place / _FINENESS))
        self._spread[near] = self._spread.get(near, 0) + 1

    @property
    def figures(self) -> Figures:
        return Figures(
            self._count,
            self._total,
            self._own,
            self._min or 0,
            self._max,
            dict(sorted(self._spread.items())),
        )


class Middle:
    """The figures of the middle of a run, as it goes by."""

    def __init__(self) -> None:
        self._modules: dict[str, Sums] = {}
        self._steps = Sums()
        #: the step of an optimizer that is looked for, and when it began last
        self._step: tuple[Any, ...] | None = None
        self._began: int | None = None

    def add(self, calls: list[Ended], events: list[Any], clock: Clock) -> None:
        """Calls that have ended, and the events that they are from."""
        starts = clock.resolve([call.start for call in calls])
        ends = clock.resolve([call.end for call in calls])
        took = [max(0, end - start) for start, end in zip(starts, ends)]
        inside: dict[int, int] = {}
        for call, time in zip(calls, took):
            if call.around is not None:
                inside[call.around] = inside.get(call.around, 0) + time
        for call, time in zip(calls, took):
            # of modules that are made anew for each batch there would be no end
            name = call.site.name
            if call.site.module() is None:
                name = call.site.kind.__name__
            own = max(0, time - inside.get(call.number, 0))
            self._modules.setdefault(name, Sums()).add(time, own)
        for step, stamp in _steps(events):
            self._step = step if self._step is None else self._step
            if step != self._step:
                continue
            (began,) = clock.resolve([stamp])
            if self._began is not None:
                self._steps.add(began - self._began, began - self._began)
            self._began = began

    def left_out(self, calls: int, gap: tuple[int, int, int]) -> LeftOut:
        steps = self._steps.figures
        modules = {name: sums.figures for name, sums in self._modules.items()}
        return LeftOut(calls, *gap, steps if steps.count else None, modules)


def _steps(events: list[Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What steps of optimizers begin, by what tells them apart, and when."""
    begins, at = torch_internals.range_enter, 0
    while at < len(events):
        if events[at] == raw.CALL and events[at + 1] is begins:
            label = events[at + 6]
            if str(label).startswith(STEP):
                start = events[at + 6 + int(events[at + 5])]
                yield (label, events[at + 2], events[at + 3]), start
        at = raw.after(events, at)
