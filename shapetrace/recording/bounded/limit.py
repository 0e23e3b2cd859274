"""A bound on the calls of a long trace: which of them are kept, and which let go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording import events as raw
from shapetrace.recording.bounded.data import find_data
from shapetrace.recording.bounded.figures import STEP, Ended, Middle
from shapetrace.recording.clocks import PausingClock
from shapetrace.recording.events import CALL, THREAD
from shapetrace.recording.extensions.cell import Cell
from shapetrace.recording.faults import is_users
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.table import Site
from shapetrace.recording.tensors import Reference, form_of, grad_fn_of
from shapetrace.records import LeftOut, Origin

_DISABLED = torch_internals.unseen_by_modes
_RANGE_ENTER = torch_internals.range_enter
_RANGE_EXIT = torch_internals.range_exit
#: so many function calls are kept for each module call; of a whole script fewer, as a
#: loader's transforms make 20 of them a sample: 84,000 took 4 s to explain, 38,000 two
_FUNCTIONS = 20
_FUNCTIONS_OF_SCRIPT = 8
#: what the event of a module call begins with, and of a function call
_MODULE = {raw.ENTER, raw.ENTER_INSIDE, raw.RECOMPUTED}
_FUNCTION = {CALL, raw.MAKE, raw.RAISE, THREAD}


class BoundedEvents(list[Any]):
    """The events of a trace, which count what is added to them: a recorder so pays for
    a bound only where there is one, and little then."""

    __slots__ = ("limit", "calls", "functions", "most_calls", "most_functions")

    def __init__(self, limit: CallLimit) -> None:
        super().__init__()
        self.limit = limit
        #: since the last part ended, and when `limit` is to look
        self.calls = self.functions = self.most_calls = self.most_functions = 0

    def __iadd__(  # type: ignore[override, misc]
        self, event: Sequence[Any]
    ) -> BoundedEvents:
        """One event more, which is the only way in which calls are added."""
        kind = event[0]
        if kind in _FUNCTION:
            if self.functions >= self.most_functions:
                self.limit.look(module=False)
            self.functions += 1
        elif kind in _MODULE:
            if self.calls >= self.most_calls:
                self.limit.look(module=True)
            self.calls += 1
        self.extend(event)
        if kind == CALL:
            self.limit.called(event[1], event[6:])
        elif kind == THREAD and event[2] == CALL:
            self.limit.called(event[3], event[8:])
        return self


class CallLimit:
    """Drops calls, also those inside a call that is still open. The clock stands still
    meanwhile.

    The newest are kept in two parts. When the newer one is full the older one goes, but
    for the calls that are open; what still lived where they meet is defined anew. So at
    least a part is kept, and at most two.

    With `keep_first` the first calls are kept too, a quarter of the limit, and figures
    of those between. A part then ends with a step of the optimizer, or before a batch
    where there are none: what follows the first calls looks as if it came next. It has
    at least an eighth of the limit, so that nothing goes before half of it is reached.
    Where nothing comes to rest until then, the newest alone are kept after all.
    """

    def __init__(
        self, most: int, clock: PausingClock, *, keep_first: bool = False
    ) -> None:
        #: what the recorder fills
        self.events = BoundedEvents(self)
        self._clock = clock
        self._half = max(1, most // 2)
        self._part = max(1, most // 4) if keep_first else self._half
        self._each = _FUNCTIONS_OF_SCRIPT if keep_first else _FUNCTIONS
        #: where the first calls end, and where the older of the two parts does
        self._first = 0
        self._cut = 0
        #: when that was
        self._began: Any = None
        self._ended: Any = None
        self._grad = True
        self._keep_first = keep_first
        self._middle = Middle()
        #: how often each tensor had been written to when the first calls ended
        self._written: dict[int, tuple[Reference, int]] = {}
        #: tensors that no parameter stands behind, as far as is known
        self._data: dict[int, Reference] = {}
        #: the ranges of `record_function` that are open
        self._ranges: list[str] = []
        self._has_steps = False
        #: module calls that are gone
        self.dropped = 0
        self.faults: list[tuple[str, BaseException]] = []
        self._recorder: Recorder | None = None
        self._begin_part()

    def unbounded(self) -> BoundedEvents:
        """Events that are counted and never too many."""
        events = BoundedEvents(self)
        events.most_calls = events.most_functions = sys.maxsize
        return events

    def begin(self, recorder: Recorder) -> None:
        """What is kept of tensors that torch exchanges is forgotten with them."""
        self._recorder = recorder
        recorder.references.beside += [self._written, self._data]

    def look(self, *, module: bool) -> None:
        """So many calls have come that it is to be asked whether a part ends with them,
        before the next: of a module or of a function."""
        events, most = self.events, self._most
        if events.calls >= most or events.functions >= most * self._each:
            self._guarded(self._end_of_part, module)
        elif module and not self._has_steps:
            self._guarded(self._end_at_rest, module)

    def called(self, function: Any, inputs: Sequence[Any]) -> None:
        """A range of `record_function` begins or ends: optimizers make one a step, and
        its end is a good place for the end of a part."""
        if function is _RANGE_ENTER:
            self._ranges.append(str(inputs[0]))
        elif function is _RANGE_EXIT and self._ranges:
            if self._ranges.pop().startswith(STEP) and self._keep_first:
                self._has_steps = True
                events, least = self.events, self._least
                if events.calls >= least or events.functions >= least * self._each:
                    self._guarded(self._end_at_rest, False)

    def left_out(self, gap: tuple[int, int, int] | None) -> LeftOut | None:
        """The middle of the run, where the first calls were kept; `gap` is its place
        among the records."""
        return None if gap is None else self._middle.left_out(self.dropped, gap)

    def _guarded(self, drop: Callable[[bool], None], entering: bool) -> None:
        """Ours must not end the user's batch: after a fault all is kept."""
        # torch.jit.trace takes down what is asked of a tensor: it is asked later
        if torch_internals.jit_tracing() is not None or self.faults:
            return
        mine = self._clock.pause()
        try:
            with _DISABLED():
                drop(entering)
        except Exception as fault:
            # of any kind: a bound of ours that fails must not end the user's batch
            if is_users(fault):
                raise
            self.faults.append(("The bound on calls", fault))
        finally:
            if mine:
                self._clock.go_on()

    @property
    def _most(self) -> int:
        first = self._keep_first and not self._first
        return self._half if first else self._part

    @property
    def _least(self) -> int:
        return self._part // 2 if self._first else self._part

    def _begin_part(self) -> None:
        events, most = self.events, self._most
        events.calls = events.functions = 0
        events.most_calls = self._least if self._keep_first else most
        events.most_functions = most * self._each

    def _is_at_rest(self, recorder: Recorder, entering: bool) -> bool:
        """Whether no module call and no `record_function` is open, but for the call
        that begins, which is on its stack and not yet among the events."""
        if self._ranges:
            return False
        stacks = recorder.stacks
        stacks.close(None)
        open_ = sum(len(one) - 1 for one in (stacks.main, *stacks.others.values()))
        return open_ == entering

    def _end_at_rest(self, entering: bool) -> None:
        if self._recorder is not None and self._is_at_rest(self._recorder, entering):
            self._end_of_part(entering)

    def _end_of_part(self, entering: bool) -> None:
        """The older part goes, the newer becomes the older."""
        recorder, events = self._recorder, self.events
        if recorder is None:
            return
        find_data(events[self._cut or self._first :], self._data)
        if self._keep_first and not self._first:
            if self._is_at_rest(recorder, entering):
                self._first = len(events)
                self._began = self._clock.now()
                self._written |= _written(recorder)
                self._begin_part()
                return
            self._keep_first, self._part = False, self._half
        if self._cut:
            self._drop(recorder)
        self._begin_part()
        recorder.references.aside = _definitions(recorder, self._written, self._data)
        self._grad = torch.is_grad_enabled()
        self._cut, self._ended = len(events), self._clock.now()

    def _drop(self, recorder: Recorder) -> None:
        part = self.events[self._first : self._cut]
        count, cells, ended, still_open = _open_calls(part)
        gap: list[Any] = []
        if self._first:
            self._middle.add(ended, part, self._clock)
            gap += (raw.GAP, self._began, self._ended, self._grad)
        else:
            recorder.grad = self._grad
        kept = gap + still_open + recorder.references.aside
        self.events[self._first : self._cut] = kept
        if recorder.extensions is not None:
            recorder.extensions.drop(cells)
        self.dropped += count


class _Open(NamedTuple):
    """A module call that has begun, and the events that began it."""

    number: int
    site: Site
    start: Any
    cell: Cell | None
    begun: list[Any]


def _open_calls(events: list[Any]) -> tuple[int, list[Cell], list[Ended], list[Any]]:
    """Of the module calls that have ended by the end of these events how many there
    are, their cells, and those that returned; and the events that began the others."""
    stacks: dict[int, list[_Open]] = {}
    cells: dict[int, tuple[Cell, list[Any]]] = {}
    gone: list[Cell] = []
    ended: list[Ended] = []
    at = number = 0
    while at < len(events):
        kind, end = events[at], raw.after(events, at)
        if kind == raw.NOTE:
            cells[events[at + 1]] = (events[at + 2], events[at:end])
        elif kind in (raw.ENTER, raw.ENTER_INSIDE):
            thread = events[at + 3] if kind == raw.ENTER else 0
            cell, note = cells.pop(thread, (None, []))
            begun = [*note, *events[at:end]]
            one = _Open(number, events[at + 1], events[at + 2], cell, begun)
            stacks.setdefault(thread, []).append(one)
            number += 1
        elif kind in (raw.LEAVE, raw.LEAVE_ONE, raw.FAIL, raw.LEFT):
            stack = stacks.get(_thread(events, at), [])
            count = _remaining(stack, events[at : at + 3])
            gone += [one.cell for one in stack[count:] if one.cell is not None]
            if kind in (raw.LEAVE, raw.LEAVE_ONE) and count < len(stack):
                around = stack[count - 1].number if count else None
                one = stack[count]
                stamp = events[at + 2]
                ended.append(Ended(one.number, around, one.site, one.start, stamp))
            del stack[count:]
        at = end
    still_open = sum(map(len, stacks.values()))
    still = [one.begun for stack in stacks.values() for one in stack]
    still += [note for _, note in cells.values()]
    return number - still_open, gone, ended, [part for one in still for part in one]


def _thread(events: list[Any], at: int) -> int:
    """That of the end of a call."""
    if events[at] == raw.LEAVE_ONE:
        return 0
    return int(events[at + (1 if events[at] == raw.LEFT else 3)])


def _remaining(stack: list[_Open], event: list[Any]) -> int:
    """How many calls are open after the end of one."""
    if event[0] == raw.LEFT:
        return int(event[2])
    for at in reversed(range(len(stack))):
        if stack[at].site is event[1]:
            return at
    return len(stack)


def _written(recorder: Recorder) -> dict[int, tuple[Reference, int]]:
    """How often each known tensor which is still alive was written to."""
    known = recorder.references.forget_dead()
    found = {}
    for reference in known.values():
        tensor = reference()
        if tensor is not None:
            found[id(reference)] = (reference, _writes(tensor))
    return found


def _writes(tensor: torch.Tensor) -> int:
    """Of an inference tensor nobody counts them."""
    return -1 if tensor.is_inference() else tensor._version


def _definitions(
    recorder: Recorder,
    written: dict[int, tuple[Reference, int]],
    data: dict[int, Reference],
) -> list[Any]:
    """Events that define every known tensor which is still alive, but for those that
    are as the first calls have left them."""
    known = recorder.references.forget_dead()
    events: list[Any] = []
    for reference in known.values():
        tensor = reference()
        if tensor is None:
            continue
        before, writes = written.get(id(reference), (None, -1))
        if before is reference and writes == _writes(tensor) >= 0:
            continue
        origin = _origin(tensor)
        if id(reference) in data and not tensor.requires_grad:
            origin = Origin("outside")
        events += (raw.DEFINE, reference, *form_of(tensor), origin)
    return events


def _origin(tensor: torch.Tensor) -> Origin:
    """A call made it that is dropped, or it came from outside: no longer to be told.
    Its grad_fn has no say: that call was seen. One that proves to be a parameter is
    named so when the records are made."""
    if isinstance(tensor, nn.Parameter) and grad_fn_of(tensor) is None:
        return Origin("outside", "", tensor.requires_grad)
    return Origin("unseen", "", tensor.requires_grad)
