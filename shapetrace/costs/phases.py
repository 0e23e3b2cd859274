"""Where a training step goes: data, forward, loss, backward, optimizer, and the rest.

All of it comes from one recording. Torch makes ranges itself around each batch of a
`DataLoader` and each step of an optimizer; calls of modules outside any other are the
forward; functions between forward and backward are the loss; what none of them covers
is the rest. Of what lies inside another the innermost counts: a closure that an
optimizer calls has its own forward and backward.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from statistics import median, quantiles
from typing import TypeVar

from shapetrace.costs.gradients import is_backward
from shapetrace.costs.step_notes import milliseconds, notes_on
from shapetrace.costs.times import corrected
from shapetrace.records import FunctionCall, ModuleCall, Range, Recording, Source

#: in the order in which they come in a step
PHASES = ("data", "forward", "loss", "backward", "optimizer", "rest")

_LOADER, _OPTIMIZER = "enumerate(DataLoader)#", "Optimizer."
_STEP = "Optimizer.step#"
#: what would be told as nothing
_TOLD = 10_000


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step, in nanoseconds; `phases` has those of `PHASES` that the block has. What
    the tracer itself took is in none of them, as far as it is known: `tracer_ns`; nor
    for how long the thread waited for a processor that other work had: `waited_ns`."""

    index: int
    start_ns: int
    duration_ns: int
    phases: dict[str, int]
    tracer_ns: int = 0
    waited_ns: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a trace. The first stands apart: it warms up. Where `max_calls` made
    the trace drop it, or `warm()` left it out, there is no first.

    Without an optimizer's step in the block a step ends with its backward, without
    that with its forward; `notes` say so, and what else a reader must know.
    """

    steps: tuple[TrainingStep, ...]
    notes: tuple[str, ...] = field(default=())
    #: whether the first step of the block is the first one here
    has_first: bool = True

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[TrainingStep]:
        return iter(self.steps)

    def __getitem__(self, index: int) -> TrainingStep:
        return self.steps[index]

    @property
    def warm(self) -> tuple[TrainingStep, ...]:
        """All but the first, where there are several."""
        return self.steps[1:] or self.steps if self.has_first else self.steps

    def median_ns(self, phase: str | None = None) -> int:
        """Of the warm steps: of one phase, or of the whole step."""
        return round(median(_times(self.warm, phase))) if self.steps else 0

    def spread_ns(self, phase: str | None = None) -> tuple[int, int]:
        """The quartiles of the warm steps."""
        times = _times(self.warm, phase)
        if len(times) < 2:
            return (times[0], times[0]) if times else (0, 0)
        low, _, high = quantiles(times, n=4, method="inclusive")
        return round(low), round(high)

    def __str__(self) -> str:
        """`2 steps of 71.20 ms (70.90 to 71.50); the first took 90.10 ms`, and a line
        for each phase."""
        if not self.steps:
            return "no step was recorded"
        whole = self.median_ns()
        count = f"{len(self)} steps of" if len(self) > 1 else "one step of"
        head = f"{count} {milliseconds(whole)} ms"
        if len(self.warm) > 1:
            head += f" ({' to '.join(map(milliseconds, self.spread_ns()))})"
        apart = self.has_first and len(self) > 1
        if apart:
            head += f"; the first took {milliseconds(self.steps[0].duration_ns)} ms"
        lines = [head]
        for phase in self.steps[0].phases:
            time = self.median_ns(phase)
            lines.append(
                f"  {phase:10}{milliseconds(time):>10} ms{time / (whole or 1):>8.1%}"
            )
            if len(self.warm) > 1:
                low, high = map(milliseconds, self.spread_ns(phase))
                lines[-1] += f"   {low} to {high}"
            if apart and len(self.warm) > 1:
                lines[-1] += f", first {milliseconds(self.steps[0].phases[phase])}"
        notes = list(self.notes)
        taken = round(median(step.tracer_ns for step in self.warm))
        if taken >= _TOLD:
            notes.insert(
                0, f"without the tracer's own cost of about {milliseconds(taken)} ms"
            )
        waited = max(step.waited_ns for step in self.warm)
        if waited >= _TOLD:
            notes.append(
                "nor what steps waited for a processor that other work had, at most"
                f" {milliseconds(waited)} ms"
            )
        return "\n".join([*lines, *(f"  ({note})" for note in notes)])


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    phase: str


@dataclass(frozen=True, slots=True)
class _Taken:
    """Of the phase at that moment the tracer, or waiting, took so much; at least so
    much is left."""

    start: int
    end: int
    taken: int
    left: int
    waited: int = 0


def steps(rec: Recording) -> Steps:
    """The steps of a recording."""
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    if not rec.has_timing or not (tops or rec.functions):
        return Steps((), ("nothing was timed",))
    backwards = [call for call in rec.functions if is_backward(call)]
    ranges = sorted(rec.ranges, key=lambda one: one.start_ns)
    spans = [_Span(r.start_ns, _end(r), "data") for r in ranges if _loads(r)]
    spans += [_Span(r.start_ns, _end(r), "optimizer") for r in ranges if _steps(r)]
    spans += [_Span(b.start_ns, _end(b), "backward") for b in backwards]
    for call in tops:
        # the first module may give its loss itself, in every step
        loss = call.name != tops[0].name and _is_scalar(call)
        spans.append(_Span(call.start_ns, _end(call), "loss" if loss else "forward"))
    spans += _losses(rec, spans, backwards)
    spans.sort(key=_start)
    recorded: list[Range | FunctionCall | ModuleCall] = [*tops, *rec.functions, *ranges]
    taken = sorted(_tracers(rec), key=_start)
    ends = _ends(rec, ranges, backwards, tops)
    seen = {span.phase for span in spans} | {"forward", "loss", "rest"}
    made: list[TrainingStep] = []
    # what max_calls has dropped is in no step, nor the step of which it dropped a part
    cut = bool(rec.dropped_calls) and rec.left_out is None
    begin = -rec.before_ns
    if cut:
        cut = len(ends) < 2
        begin = min(map(_start_of, recorded)) if cut else ends.pop(0)
    for at, end in enumerate(ends):
        if rec.left_out is not None and begin <= rec.left_out.start_ns < end:
            begin = rec.left_out.end_ns
        events = _between(spans, begin, end), _between(taken, begin, end)
        inside = _exclusive(*events, begin, end)
        phases = {name: inside.get(name, 0) for name in PHASES if name in seen}
        whole = sum(inside.values())
        waited = sum(one.waited for one in events[1])
        waited = min(waited, end - begin - whole)
        tracers = end - begin - whole - waited
        made.append(TrainingStep(at, begin, whole, phases, tracers, waited))
        begin = end
    notes = tuple(notes_on(rec, seen, backwards, cut))
    return Steps(tuple(made), notes, has_first=rec.has_first)


def within_steps(rec: Recording, moments: Sequence[int]) -> list[bool]:
    """Which of these moments, in their order, lie in the step of an optimizer."""
    steps = [one for one in rec.ranges if one.name.startswith(_STEP)]
    begins, ends = sorted(map(_start_of, steps)), sorted(map(_end, steps))
    return [bisect_right(begins, at) > bisect_right(ends, at) for at in moments]


def _ends(
    rec: Recording,
    ranges: Sequence[Range],
    backwards: Sequence[FunctionCall],
    tops: Sequence[ModuleCall],
) -> list[int]:
    """Where steps end: with the last optimizer's step of each, and what it clears
    after that."""
    optimizers = [one for one in ranges if one.name.startswith(_STEP)]
    if not optimizers:
        return _turns([(b.source, _end(b)) for b in backwards]) or _turns(
            [(call.name, _end(call)) for call in tops]
        )
    ends = _turns([(one.source, _end(one)) for one in optimizers])
    work = [call.start_ns for call in tops] + [call.start_ns for call in backwards]
    work += [one.start_ns for one in ranges if not _clears(one)]
    work.sort()
    clears = [_Span(r.start_ns, _end(r), "optimizer") for r in ranges if _clears(r)]
    later = []
    for end in ends:
        at = bisect_left(work, end)
        until = work[at] if at < len(work) else rec.duration_ns
        later.append(max([end, *(one.end for one in _between(clears, end, until))]))
    return later


def _turns(marks: Sequence[tuple[Source | str | None, int]]) -> list[int]:
    """A turn ends before a place in the code comes again."""
    ends: list[int] = []
    seen: set[Source | str | None] = set()
    last = 0
    for place, end in marks:
        if place in seen:
            ends.append(last)
            seen.clear()
        seen.add(place)
        last = end
    return [*ends, last] if marks else []


def _losses(
    rec: Recording, spans: Sequence[_Span], backwards: Sequence[FunctionCall]
) -> list[_Span]:
    """Functions between the end of a forward and the backward that follows it, also
    in a closure that an optimizer's step calls."""
    forwards = sorted(s.end for s in spans if s.phase == "forward")
    begins = sorted(backward.start_ns for backward in backwards)
    taken = sorted((s for s in spans if not _holds(s, begins)), key=_start)
    starts = [span.start for span in taken]
    # of all that began by then, when the last one ends
    ends = list(accumulate((span.end for span in taken), max))
    outside = sorted(
        (call for call in rec.functions if call.parent is None), key=_start_of
    )
    found: list[_Span] = []
    begin = 0
    for backward in backwards:
        before = bisect_right(forwards, backward.start_ns)
        since, begin = begin, _end(backward)
        if not before or forwards[before - 1] < since:
            continue
        first = bisect_left(outside, forwards[before - 1], key=_start_of)
        free = [
            call
            for call in outside[
                first : bisect_left(outside, backward.start_ns, key=_start_of)
            ]
            if not (at := bisect_right(starts, call.start_ns))
            or ends[at - 1] <= call.start_ns
        ]
        found += _together(forwards[before - 1], free, backward)
    return found


def _holds(span: _Span, begins: Sequence[int]) -> bool:
    """Whether one of these moments lies in it."""
    return bisect_right(begins, span.start) < bisect_left(begins, span.end)


def _together(
    begin: int, calls: Sequence[FunctionCall], backward: FunctionCall
) -> list[_Span]:
    """What the loop itself calls counts by itself. A function of its own that computes
    the loss, and calls others, does so from what came before, the forward's end or a
    call of the loop's, to the last of these calls."""
    found: list[_Span] = []
    for call in calls:
        start, end, place = call.start_ns, _end(call), _place(call)
        if place is None or place == _place(backward):
            begin = end
        else:
            start = begin
            if found and found[-1].start == begin:
                found.pop()
        found.append(_Span(start, end, "loss"))
    return found


def _place(call: FunctionCall) -> tuple[str, str] | None:
    return (call.source.file, call.source.function) if call.source else None


def _tracers(rec: Recording) -> Iterator[_Taken]:
    """What the tracer took, outside of modules and in the outermost of them, and what
    was waited there."""
    times = corrected(rec)
    if times is None:
        return
    for function in rec.functions:
        if function.parent is None:
            start, took = function.start_ns, times.functions[function.index]
            # what it took around the function is not in the span of a loss
            yield _Taken(start - 1, start - 1, times.around[function.index], 0)
            yield _Taken(start, start, function.duration_ns - took, took)
    for call in rec.calls:
        if call.parent is None and call.thread == 0:
            start, took = call.start_ns, times.calls[call.index].total_ns
            yield _Taken(start, start, call.duration_ns - took, took)
    for wait in times.waits:
        start, nowhere = wait.at_ns, wait.function is None and wait.call is None
        taken = wait.waited_ns if nowhere else 0  # else it is in what was taken there
        yield _Taken(start, start, taken, 0, wait.waited_ns)


def _exclusive(
    spans: list[_Span], taken: list[_Taken], begin: int, end: int
) -> dict[str, int]:
    """The time of each phase, that of the spans inside it taken off, and of the tracer.
    What a phase consists of is left in it."""
    found = {"rest": end - begin}
    tracers: dict[str, int] = {}
    left: dict[str, int] = {}
    stack: list[_Span] = []
    events: list[_Span | _Taken] = [*spans, *taken]
    for span in sorted(events, key=lambda one: (one.start, -one.end)):
        while stack and stack[-1].end <= span.start:
            stack.pop()
        around = stack[-1].phase if stack else "rest"
        if isinstance(span, _Taken):
            tracers[around] = tracers.get(around, 0) + span.taken
            left[around] = left.get(around, 0) + span.left
            continue
        stop = min(span.end, end)
        if stack:
            stop = min(stop, stack[-1].end)
        found[around] -= stop - span.start
        found[span.phase] = found.get(span.phase, 0) + stop - span.start
        stack.append(_Span(span.start, stop, span.phase))
    return {
        phase: max(time - tracers.get(phase, 0), min(time, left.get(phase, 0)))
        for phase, time in found.items()
    }


def _times(steps: Sequence[TrainingStep], phase: str | None) -> list[int]:
    if phase is None:
        return [step.duration_ns for step in steps]
    return [step.phases.get(phase, 0) for step in steps]


_At = TypeVar("_At", _Span, _Taken)

_start, _start_of = attrgetter("start"), attrgetter("start_ns")


def _between(spans: list[_At], begin: int, end: int) -> list[_At]:
    """Those that begin then, of spans in the order of their begin: looked up, since a
    long run has as many steps as spans."""
    first = bisect_left(spans, begin, key=_start)
    return spans[first : bisect_left(spans, end, key=_start)]


def _end(one: Range | FunctionCall | ModuleCall) -> int:
    return one.start_ns + one.duration_ns


def _loads(one: Range) -> bool:
    return one.name.startswith(_LOADER)


def _steps(one: Range) -> bool:
    return one.name.startswith(_OPTIMIZER)


def _clears(one: Range) -> bool:
    return _steps(one) and not one.name.startswith(_STEP)


def _is_scalar(call: ModuleCall) -> bool:
    outputs = call.outputs or ()
    return bool(outputs) and all(ref.shape == () for ref in outputs)
