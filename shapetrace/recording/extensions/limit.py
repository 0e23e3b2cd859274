"""`max_calls`: keep the newest calls of a long trace, and let go of the oldest."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shapetrace.recording import events as raw
from shapetrace.recording.extensions.base import Cell, Extension, Extensions, Tensors
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.tensors import PLAIN, Nested, Reference, describe
from shapetrace.records import Origin

#: so many function calls are kept for each module call
_FUNCTIONS = 20


class CallLimit(Extension):
    """Drops the oldest calls, also those inside a call that is still open.

    The events are kept in two halves. When the newer one is full the older one goes,
    but for the calls that are open; what still lived where they meet is defined anew.
    So at least half of the limit is kept, and at most the limit.
    """

    def __init__(self, most: int, functions: bool) -> None:
        self.functions = functions
        self._half = max(1, most // 2)
        self._calls = 0
        self._functions = 0
        self._cut = 0
        self._alive: list[Any] = []
        self._grad = True
        #: tensors that no parameter stands behind, as far as is known
        self._data: dict[int, Reference] = {}
        #: module calls that are gone
        self.dropped = 0
        self.recorder: Recorder | None = None
        self.extensions: Extensions | None = None

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        if self._calls >= self._half:
            self._turn()
        self._calls += 1

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        self._functions += 1
        if self._functions >= self._half * _FUNCTIONS:
            self._turn()

    def _turn(self) -> None:
        """The older half goes, the newer becomes the older."""
        recorder, extensions = self.recorder, self.extensions
        if recorder is None or extensions is None:
            return
        _find_data(recorder.events[self._cut :], self._data)
        if self._cut:
            dropped, still_open = _open_calls(recorder.events[: self._cut])
            recorder.events[: self._cut] = still_open + self._alive
            recorder.grad = self._grad
            extensions.drop(dropped)
            self.dropped += len(dropped)
        self._calls = self._functions = 0
        self._alive = _definitions(recorder, self._data)
        self._grad = torch.is_grad_enabled()
        self._cut = len(recorder.events)


def _open_calls(events: list[Any]) -> tuple[list[Cell], list[Any]]:
    """The cells of the module calls that have ended by the end of these events, and
    the events that began the others."""
    stacks: dict[int, list[tuple[Cell | None, list[Any]]]] = {}
    cells: dict[int, tuple[Cell, list[Any]]] = {}
    gone: list[Cell] = []
    at = 0
    while at < len(events):
        kind, end = events[at], raw.after(events, at)
        if kind == raw.NOTE:
            cells[events[at + 1]] = (events[at + 2], events[at:end])
        elif kind in (raw.ENTER, raw.ENTER_INSIDE):
            thread = events[at + 3] if kind == raw.ENTER else 0
            cell, note = cells.pop(thread, (None, []))
            begun = (cell, [*note, *events[at:end]])
            stacks.setdefault(thread, []).append(begun)
        elif kind in (raw.LEAVE, raw.LEAVE_ONE, raw.FAIL, raw.LEFT):
            stack = stacks.get(_thread(events, at), [])
            count = _remaining(stack, events[at : at + 3])
            gone += [cell for cell, _ in stack[count:] if cell is not None]
            del stack[count:]
        at = end
    still = [one for stack in stacks.values() for _, one in stack]
    still += [note for _, note in cells.values()]
    return gone, [part for one in still for part in one]


def _thread(events: list[Any], at: int) -> int:
    """That of the end of a call."""
    if events[at] == raw.LEAVE_ONE:
        return 0
    return int(events[at + (1 if events[at] == raw.LEFT else 3)])


def _remaining(stack: list[tuple[Cell | None, list[Any]]], event: list[Any]) -> int:
    """How many calls are open after the end of one."""
    if event[0] == raw.LEFT:
        return int(event[2])
    for at in reversed(range(len(stack))):
        if any(part is event[1] for part in stack[at][1]):
            return at
    return len(stack)


def _find_data(events: list[Any], known: dict[int, Reference]) -> None:
    """Bring up to date which tensors came from outside, or were made of nothing but
    such ones, so that what is data is told when the calls that made it are gone."""
    at = 0
    while at < len(events):
        kind, end = events[at], raw.after(events, at)
        if kind == raw.DEFINE:
            reference, origin = events[at + 1], events[at + 5]
            outside = origin.kind == "outside" and not origin.requires_grad
            if outside and not isinstance(reference(), nn.Parameter):
                known[id(reference)] = reference
            else:
                known.pop(id(reference), None)
        elif kind in (raw.CALL, raw.MAKE):
            made = at + 6 + events[at + 5]
            data = not events[at + 4] or _is_data(events[at + 4], known)
            for one in events[at + 6 : made] if data else ():
                if type(one) not in PLAIN and not _is_data(one, known):
                    data = False
                    break
            for reference in _references(events[made + 2]):
                if data:
                    known[id(reference)] = reference
                elif id(reference) in known:
                    del known[id(reference)]
        at = end
    for key in [key for key, reference in known.items() if reference() is None]:
        del known[key]


def _is_data(value: Any, known: dict[int, Reference]) -> bool:
    """Whether all tensors in an argument are known."""
    if type(value) is weakref.ReferenceType:
        return id(value) in known
    return all(id(one) in known for one in _references(value))


def _references(value: Any) -> Sequence[Reference]:
    """The references in frozen arguments and results."""
    kind = type(value)
    if kind is tuple:  # a tensor that is described here
        return (value[0],)
    if kind is weakref.ReferenceType:
        return (value,)
    if kind is Nested:
        value = value.values
    elif kind is dict:
        value = value.values()
    elif kind is not list:
        return ()
    return [one for part in value for one in _references(part)]


def _definitions(recorder: Recorder, data: dict[int, Reference]) -> list[Any]:
    """Events that define every known tensor which is still alive."""
    known = recorder.references.forget_dead()
    events: list[Any] = []
    for reference in known.values():
        tensor = reference()
        if tensor is not None:
            origin = _origin(tensor)
            if id(reference) in data and not tensor.requires_grad:
                origin = Origin("outside")
            events += (raw.DEFINE, reference, *describe(tensor)[1:], origin)
    return events


def _origin(tensor: torch.Tensor) -> Origin:
    """A call made it that is dropped, or it came from outside: no longer to be told.
    One that proves to be a parameter is named so when the records are made."""
    if tensor.grad_fn is None and isinstance(tensor, nn.Parameter):
        return Origin("outside", "", tensor.requires_grad)
    name = tensor.grad_fn.name() if tensor.grad_fn is not None else ""
    return Origin("unseen", name, tensor.requires_grad)
