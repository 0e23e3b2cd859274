"""Which module calls are open in which thread, and what stands on the Python stack."""

from __future__ import annotations

import sys
from _thread import get_ident as ident
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import FAIL, LEFT, error_tuple
from shapetrace.recording.table import Site
from shapetrace.source.place import INTERNAL, STANDS_IN

#: the frame of a module call; the hooks run below it
_CALL = torch_internals.module_call.__code__
#: through this what torch.compile returns is called
_COMPILED = "compile_wrapper"
_NO_CODE = compile("", "<no module>", "exec")

Place = tuple[CodeType | None, int]


class _Bottom:
    """Below all open calls of a thread; no frame has its code."""

    key = 0
    code = _NO_CODE
    internal = sealed = False


class Leaving:
    """Above a module call whose forward has ended and whose own hooks may still run
    and change what the caller gets. Until then it is the call's frame that knows."""

    key = -1
    code = _NO_CODE
    internal = sealed = False

    def __init__(self, site: Site, frame: FrameType, head: tuple[Any, ...]) -> None:
        self.site = site
        self.frame = frame
        self.head = head


class Stacks:
    """The open module calls: `main` of the tracing thread, `others` by thread."""

    def __init__(self, events: list[Any], now: Callable[[], Any]) -> None:
        self._events = events
        self.now = now
        self.thread = ident()
        self.main: list[Any] = [_Bottom]
        self.others: dict[int, list[Any]] = {}
        #: whether something compiled was called, which runs eagerly
        self.met_compiled = False
        self._met: set[int] = set()
        #: an output and arguments as data; set by the hooks
        self.result: Callable[[Any], Any]
        self.describe: Callable[[Any, Any], tuple[list[Any], dict[str, Any] | None]]

    def here(self) -> tuple[list[Any], int]:
        """Those of this thread, and its number in the events."""
        thread = ident()
        if thread == self.thread:
            return self.main, 0
        return self.others.setdefault(thread, [_Bottom]), thread

    def place(self, frame: FrameType | None, open_: list[Any]) -> Place:
        """Code and instruction of the first user frame at or above `frame`; None where
        the forward of the innermost open module, torch's own, comes first."""
        top = open_[-1]
        found: Place | None = None
        below = ""
        hooks_run_in = top.frame if type(top) is Leaving else None
        while frame is not None:
            code = frame.f_code
            if below == _COMPILED and _is_users(code):
                self.met_compiled = True
            own = not INTERNAL[code.co_filename] and code.co_name != STANDS_IN
            if found is None and own:
                found = code, frame.f_lasti
                if id(code) not in self._met:
                    self._met.add(id(code))
                    self._look_for_compiled(frame)
                if not top.key:
                    return found
            if code is top.code or frame is hooks_run_in:
                break
            if code is _CALL and id(frame.f_locals.get("self")) == top.key:
                break
            below, frame = code.co_name, frame.f_back
        else:
            self._unwind(open_)
        return found or (None, 0)

    def settle(
        self,
        open_: list[Any],
        frame: FrameType | None,
        error: BaseException | None = None,
    ) -> None:
        """Note the end of a call whose own hooks have run, if there is one. `error` is
        the exception on its way, which one of the hooks may have raised."""
        while type(top := open_[-1]) is Leaving:
            while frame is not None and frame is not top.frame:
                frame = frame.f_back
            if frame is not None:
                return  # they still run
            open_.pop()
            open_.pop()
            tb = error.__traceback__ if error is not None else None
            while tb is not None and tb.tb_frame is not top.frame:
                tb = tb.tb_next
            if tb is not None and error is not None:
                self._events += (FAIL, *top.head[1:], error_tuple(error))
            else:
                output = top.frame.f_locals.get("result")
                self._events += (*top.head, self.result(output))

    def close(self, error: BaseException | None) -> None:
        """The block ends, or what was recorded so far is asked for."""
        for open_ in (self.main, *list(self.others.values())):
            self.settle(open_, sys._getframe(), error)
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The calls that an exception leaves of which hooks are not told."""
        frames: dict[int, FrameType] = {}
        tb = error.__traceback__
        while tb is not None:
            if tb.tb_frame.f_code is _CALL:
                frames[id(tb.tb_frame.f_locals.get("self"))] = tb.tb_frame
            tb = tb.tb_next
        while (site := self.main[-1]).key in frames:
            self.main.pop()
            given = frames[site.key].f_locals
            inputs, named = self.describe(given.get("args", ()), given.get("kwargs"))
            head = (FAIL, site, self.now(), 0, named, len(inputs), *inputs)
            self._events += (*head, error_tuple(error))

    def _look_for_compiled(self, frame: FrameType | None) -> None:
        """Below which code of the user's compiled code is asked once for each code."""
        below = ""
        while frame is not None:
            if below == _COMPILED and _is_users(frame.f_code):
                self.met_compiled = True
            below, frame = frame.f_code.co_name, frame.f_back

    def _unwind(self, open_: list[Any]) -> None:
        """No frame belongs to the innermost open call: it was left by an exception of
        which hooks are not told, such as KeyboardInterrupt."""
        found = set()
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code is _CALL:
                found.add(id(frame.f_locals.get("self")))
            frame = frame.f_back
        count = len(open_)
        while open_[-1].key and open_[-1].key not in found:
            open_.pop()
        if len(open_) < count:
            _, thread = self.here()
            calls = sum(type(one) is Site for one in open_)
            self._events += (LEFT, thread, calls)


def _is_users(code: CodeType) -> bool:
    """Whether what calls compiled code is the user's, or the call of a module: torch
    compiles some functions of its own, such as flex_attention."""
    return code.co_filename == _CALL.co_filename or not INTERNAL[code.co_filename]


def frame_of_hook(frame: FrameType) -> FrameType:
    """The frame of torch's that calls a hook, which is called below this one."""
    above: FrameType | None = frame
    while above is not None and above.f_code.co_filename != _CALL.co_filename:
        above = above.f_back
    return above or frame


def caller_of_module(frame: FrameType | None) -> FrameType | None:
    """Who calls the module whose hook is called from this frame."""
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back
    return frame.f_back if frame is not None else None
