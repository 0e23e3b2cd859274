"""Asynchronous collectives: until when each is on its way, and where its handle is
waited for.

`work.wait()` calls no hook and no mode, and another object in place of the handle would
change the program. So, as a sampling profiler does, a thread looks each few
milliseconds where the tracing thread stands, and asks the handles whether they are
done; and only while one is on its way.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import weakref
from _thread import allocate_lock, get_ident, start_new_thread
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import error_tuple
from shapetrace.recording.tensors import is_tensor
from shapetrace.records import CallError
from shapetrace.source.place import INTERNAL, locate, segment

#: what an asynchronous collective gives; a torch without collectives has none
HANDLE: Any = getattr(dist, "Work", ())
_EVERY_S = 0.005
#: of a run without an end only so many of the newest waits
_MOST = 10_000
_WAIT = "wait"
_ENDS_WAITING_S = 1.0

Look = tuple[CodeType, int, Any, Any]


class Handles:
    """The handles that torch gave to the tracing thread."""

    def __init__(
        self, now: Callable[[], Any], fault: Callable[[BaseException], None]
    ) -> None:
        self._now = now
        self._fault = fault
        self._given: SimpleQueue[tuple[Any, list[Any]] | None] = SimpleQueue()
        #: held while the thread runs, in this process
        self._watching: Any = None
        self._process = 0
        #: where the tracing thread waited (code, instruction), since and until when
        self.looks: deque[Look] = deque(maxlen=_MOST)

    def begun(self, handle: Any, args: Iterable[Any]) -> list[Any] | None:
        """A list that gets the moment in which the handle is done; None where nobody
        asks it. `wait()` does not hold up the processor for an accelerator, and asking
        could spoil a graph that is captured meanwhile."""
        asked = type(handle).is_completed is HANDLE.is_completed
        if self._now is int or not asked or not all(map(_is_on_cpu, _tensors(args))):
            return None
        done: list[Any] = []
        if self._watching is None:
            self._process, self._watching = os.getpid(), allocate_lock()
            self._watching.acquire()
            start_new_thread(self._watch, (get_ident(),))
        self._given.put((weakref.ref(handle), done))
        return done

    def end(self) -> None:
        """Safe to call again. A process that was forked meanwhile has no thread."""
        if self._watching is not None and self._process == os.getpid():
            self._given.put(None)
            if self._watching.acquire(timeout=_ENDS_WAITING_S):
                self._watching = None

    def _watch(self, thread: int) -> None:
        try:
            self._look_until_the_end(thread)
        except Exception as fault:  # ours must not be told by Python as the user's
            self._fault(fault)
        finally:
            self._watching.release()

    def _look_until_the_end(self, thread: int) -> None:
        pending: list[tuple[Any, list[Any]]] = []
        before, last = self._now(), None
        while True:
            try:
                given = self._given.get(timeout=_EVERY_S if pending else None)
            except Empty:
                pass
            else:
                if given is None:
                    return
                # who begins one waits for none, and then for another
                before, last = self._now(), None
                pending.append(given)
            place, now = _waits_at(thread), self._now()
            if place is not None:
                if place == last:
                    before = self.looks.pop()[2]
                self.looks.append((*place, before, now))
            before, last = now, place
            for reference, done in pending:
                if _is_done(reference):
                    done.append(now)
            pending = [one for one in pending if not one[1]]


def _waits_at(thread: int) -> tuple[CodeType, int] | None:
    """Code and instruction of a thread where it may stand in a `wait()`."""
    frame = sys._current_frames().get(thread)
    while frame is not None and INTERNAL[frame.f_code.co_filename]:
        # that of a future is written in Python
        frame = frame.f_back if frame.f_code.co_name == _WAIT else None
    if frame is None or _WAIT not in frame.f_code.co_names:
        return None
    return frame.f_code, frame.f_lasti


def _is_done(reference: Any) -> bool:
    """Who lets a handle go has waited for it, or never will."""
    handle = reference()
    return handle is None or bool(handle.is_completed())


def _tensors(args: Iterable[Any]) -> Iterator[torch.Tensor]:
    for arg in args:
        parts = arg if isinstance(arg, (list, tuple)) else (arg,)
        yield from (part for part in parts if is_tensor(part))


def _is_on_cpu(tensor: torch.Tensor) -> bool:
    with torch_internals.unseen_by_modes():
        return tensor.is_cpu


def is_wait(code: CodeType, lasti: int) -> bool:
    """Whether the instruction is the call of a method `wait`."""
    return _called(segment(locate(code, lasti))) == _WAIT


def _called(text: str) -> str:
    """The name that a call goes by, "" for what is no call."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    function = call.func if isinstance(call, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else ""


Stop = tuple[FrameType, int, int]


def stops(tb: TracebackType | None) -> Iterator[Stop]:
    """The frames that an exception has left, their instructions and lines."""
    while tb is not None:
        yield tb.tb_frame, tb.tb_lasti, tb.tb_lineno
        tb = tb.tb_next


def collective_of(frames: Iterable[Stop]) -> str:
    """The collective of torch.distributed that these frames are in, the innermost last,
    or the wait for one: its name and the line that called it; empty where none is."""
    place = ""
    innermost: Stop | None = None
    for innermost in frames:
        frame, _, line = innermost
        module = str(frame.f_globals.get("__name__", ""))
        name = frame.f_code.co_name
        if module.startswith("torch.distributed") and callable(
            getattr(dist, name, None)
        ):
            return f"{name}{place}"
        if not module.startswith("torch"):
            place = f" at {os.path.basename(frame.f_code.co_filename)}:{line}"
    if innermost is not None and _waits(innermost[0], innermost[1]):
        return f"{_WAIT}{place}"
    return ""


def waited_in(error: BaseException) -> str:
    """What the exception came out of, where it or an interrupt ended a wait for other
    ranks: as `collective_of`, and beside it a forward or a backward that exchanges data
    by itself."""
    passed = list(stops(error.__traceback__))
    known = collective_of(passed)
    if not isinstance(error, Exception):
        return known
    kind, message, *_ = error_tuple(error)
    if not CallError(kind, message).is_of_other_ranks(in_collective=bool(known)):
        return ""
    return known or _called_by_user(passed)


def _called_by_user(frames: Iterable[Stop]) -> str:
    """The first public function of torch's behind the innermost line of other code."""
    name = place = ""
    for frame, _, line in frames:
        code = frame.f_code
        if not str(frame.f_globals.get("__name__", "")).startswith("torch"):
            name, place = "", f" at {os.path.basename(code.co_filename)}:{line}"
        elif not name and not code.co_name.startswith("_"):
            name = code.co_name
    return name and name + place


def _waits(frame: FrameType, lasti: int) -> bool:
    """Whether it stands at the `wait()` of a collective's handle, which is in C++: no
    frame comes after. A name can be looked up, where no comprehension has taken it
    along; what else gives the handle would have to be called again."""
    if not is_wait(frame.f_code, lasti):
        return False
    name = re.match(r"(\w+)\.wait\(", segment(locate(frame.f_code, lasti)))
    named = frame.f_globals | frame.f_locals
    if name is None or name[1] not in named:
        return True
    return isinstance(named[name[1]], HANDLE)
