"""A bound on the calls of a long trace: which of them are kept, and which let go."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording import events as raw
from shapetrace.recording.extensions.base import Cell, Extension, Extensions, Tensors
from shapetrace.recording.extensions.data import find_data
from shapetrace.recording.extensions.figures import STEP, Ended, Middle
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.table import Site
from shapetrace.recording.tensors import Reference, form_of, grad_fn_of
from shapetrace.records import LeftOut, Origin

#: so many function calls are kept for each module call; of a whole script fewer, as a
#: loader's transforms make 20 of them a sample: 84,000 took 4 s to explain, 38,000 two
_FUNCTIONS = 20
_FUNCTIONS_OF_SCRIPT = 8


class CallLimit(Extension):
    """Drops calls, also those inside a call that is still open.

    The newest are kept in two parts. When the newer one is full the older one goes, but
    for the calls that are open; what still lived where they meet is defined anew. So at
    least a part is kept, and at most two.

    With `keep_first` the first calls are kept too, a quarter of the limit, and figures
    of those between. A part then ends with a step of the optimizer, or before a batch
    where there are none: what follows the first calls looks as if it came next. It has
    at least an eighth of the limit, so that nothing goes before half of it is reached.
    Where nothing comes to rest until then, the newest alone are kept after all.
    """

    def __init__(self, most: int, functions: bool, *, keep_first: bool = False) -> None:
        self.counts = functions
        self._half = max(1, most // 2)
        self._part = max(1, most // 4) if keep_first else self._half
        self._each = _FUNCTIONS_OF_SCRIPT if keep_first else _FUNCTIONS
        self._calls = 0
        self._functions = 0
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
        self._ranges = 0
        self._has_steps = False
        #: module calls that are gone
        self.dropped = 0
        self.recorder: Recorder | None = None
        self.extensions: Extensions | None = None

    def begin(self, recorder: Recorder) -> None:
        """What is kept of tensors that torch exchanges is forgotten with them."""
        self.recorder = recorder
        recorder.references.beside += [self._written, self._data]

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        if self._is_full(self._most):
            self._end_of_part()
        elif cell.parent is None and not self._has_steps:
            self._may_end()
        self._calls += 1

    def called(self) -> None:
        self._functions += 1
        if self._functions < self._most * self._each:
            return
        # torch.jit.trace takes down what is asked of a tensor: it is asked later
        if torch_internals.jit_tracing() is None:
            self.guarded(self._end_of_part)()

    def entered(self, label: str, frame: Any) -> None:
        self._ranges += 1

    def left(self, label: str, frame: Any) -> None:
        self._ranges -= 1
        if label.startswith(STEP):
            self._has_steps = True
            self._may_end()

    def left_out(self, gap: tuple[int, int, int] | None) -> LeftOut | None:
        """The middle of the run, where the first calls were kept; `gap` is its place
        among the records."""
        return None if gap is None else self._middle.left_out(self.dropped, gap)

    def _is_full(self, calls: int) -> bool:
        return self._calls >= calls or self._functions >= calls * self._each

    def _may_end(self) -> None:
        """A step has ended, or a batch begins: a good place for the end of a part."""
        if self._keep_first and self._is_full(self._least) and self._is_at_rest():
            self._end_of_part()

    @property
    def _least(self) -> int:
        return self._part if not self._first else self._part // 2

    @property
    def _most(self) -> int:
        first = self._keep_first and not self._first
        return self._half if first else self._part

    def _is_at_rest(self) -> bool:
        """Whether no module call and no `record_function` is open."""
        if self._ranges or self.recorder is None:
            return False
        stacks = self.recorder.stacks
        stacks.close(None)
        return all(len(one) == 1 for one in (stacks.main, *stacks.others.values()))

    def _end_of_part(self) -> None:
        """The older part goes, the newer becomes the older."""
        recorder, extensions = self.recorder, self.extensions
        if recorder is None or extensions is None:
            return
        find_data(recorder.events[self._cut or self._first :], self._data)
        if self._keep_first and not self._first:
            if self._is_at_rest():
                self._first = len(recorder.events)
                self._began = recorder.clock.now()
                self._written |= _written(recorder)
                self._calls = self._functions = 0
                return
            self._keep_first, self._part = False, self._half
        if self._cut:
            self._drop(recorder, extensions)
        self._calls = self._functions = 0
        recorder.references.aside = _definitions(recorder, self._written, self._data)
        self._grad = torch.is_grad_enabled()
        self._cut, self._ended = len(recorder.events), recorder.clock.now()

    def _drop(self, recorder: Recorder, extensions: Extensions) -> None:
        part = recorder.events[self._first : self._cut]
        dropped, ended, still_open = _open_calls(part)
        gap: list[Any] = []
        if self._first:
            self._middle.add(ended, part, recorder.clock)
            gap += (raw.GAP, self._began, self._ended, self._grad)
        else:
            recorder.grad = self._grad
        recorder.events[self._first : self._cut] = (
            gap + still_open + recorder.references.aside
        )
        extensions.drop(dropped)
        self.dropped += len(dropped)


class _Open(NamedTuple):
    """A module call that has begun, and the events that began it."""

    number: int
    site: Site
    start: Any
    cell: Cell | None
    begun: list[Any]


def _open_calls(events: list[Any]) -> tuple[list[Cell], list[Ended], list[Any]]:
    """Of the module calls that have ended by the end of these events the cells, and
    those that returned; and the events that began the others."""
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
    still = [one.begun for stack in stacks.values() for one in stack]
    still += [note for _, note in cells.values()]
    return gone, ended, [part for one in still for part in one]


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
    One that proves to be a parameter is named so when the records are made."""
    grad_fn = grad_fn_of(tensor)
    if grad_fn is None and isinstance(tensor, nn.Parameter):
        return Origin("outside", "", tensor.requires_grad)
    name = grad_fn.name() if grad_fn is not None else ""
    return Origin("unseen", name, tensor.requires_grad)
