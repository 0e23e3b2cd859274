"""Watching the calls of modules: a pre-hook and a post-hook for all modules.

They are torch's own global hooks: nothing is written to any module. Tenths of a
microsecond count here. One flat list, since each tuple kept makes the garbage collector
run more often; a dict hit and one identity test instead of reading a known tensor's
shape; below a layer of torch's own no line is noted, since the user's is that of the
layer's call. Every event is added by one list operation, so that neither a
KeyboardInterrupt nor another thread can cut one in two.
"""

from __future__ import annotations

import sys
from _thread import get_ident as ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import (
    ENTER,
    ENTER_INSIDE,
    FAIL,
    LEAVE,
    LEAVE_ONE,
    RECOMPUTED,
    SPENT,
    UNSEEN,
    error_tuple,
)
from shapetrace.recording.hidden import transforms
from shapetrace.recording.run_queue import LONG
from shapetrace.recording.stacks import Leaving, caller_of_module, frame_of_hook
from shapetrace.recording.tensors import (
    Reference,
    freeze,
    is_tensor,
    name_of_class,
)
from shapetrace.records import Opaque

if TYPE_CHECKING:
    from shapetrace.recording.recorder import Recorder

_FRAME = sys._getframe
_COMPILER, _LOADED = "torch._dynamo", sys.modules
_TENSOR = torch.Tensor
#: between a hook and who called the module: `inner`, `_call_impl`, `_wrapped_call_impl`
_CALLER = 4
#: on an exception torch gives a hook no keyword arguments, and so one argument less
_RAISED: Any = object()

PreHook = Callable[[nn.Module, Any], None]
PostHook = Callable[..., None]


def module_hooks(recorder: Recorder) -> tuple[PreHook, PostHook]:
    """The pre-hook and the post-hook that record the calls of modules."""
    slow = _Slow(recorder)
    begin, end = slow.begin, slow.end
    events = recorder.events
    now = recorder.clock.now
    references = recorder.references
    look = None if references.functions else references.look
    fresh = None if references.functions else references.fresh
    changed = references.changed
    modes = torch_internals.count_modes
    known = references.seen.get
    find = recorder.table.sites.get
    failed = recorder.fault
    main = recorder.stacks.thread
    stack = recorder.stacks.main
    others = recorder.stacks.others
    push, pop = stack.append, stack.pop
    all_backward_hooks = torch_internals.backward_hooks
    all_backward_pre_hooks = torch_internals.backward_pre_hooks
    compiling = torch.compiler.is_dynamo_compiling

    # no `return` stands in a `try`: Python is out of it when it gets there
    def enter(module: nn.Module, args: Any) -> None:
        nonlocal events
        try:
            # Dynamo looks through hooks into what it compiles, as flex_attention does
            if not (_COMPILER in _LOADED and compiling()):
                site = find(id(module))
                # the usual call: from the forward of the innermost open module
                if (
                    site is not None
                    and ident() == main
                    and (code := (frame := _FRAME(_CALLER)).f_code)
                    is (top := stack[-1]).code
                ):
                    if look is not None and not (top.sealed and site.sealed):
                        look(args, not top.sealed)
                    push(site)
                    if top.internal:
                        events += (ENTER_INSIDE, site, now())
                    else:
                        events += (ENTER, site, now(), 0, code, frame.f_lasti)
                else:
                    begin(module, args)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)

    def leave(module: nn.Module, args: Any, kwargs: Any, output: Any = _RAISED) -> None:
        nonlocal events
        try:
            if not (_COMPILER in _LOADED and compiling()):
                stamp = now()
                top = stack[-1]
                made: Any = None
                # the usual call: of the innermost open module, given one known tensor
                if (
                    top.key == id(module)
                    and len(args) == 1
                    and not kwargs
                    and not others
                    and (given := known(id(args[0]))) is not None
                    and given() is args[0]
                    and not top.pre_hooks
                    and not top.forward_hooks
                    and not top.backward_hooks
                    and not top.backward_pre_hooks
                    and not all_backward_hooks
                    and not all_backward_pre_hooks
                ):
                    made = known(id(output))
                    if made is not None and made() is not output:
                        made = None
                    if fresh is not None and (made is None or not top.sealed):
                        if type(output) is not _TENSOR or modes():
                            made = None
                        elif made is None or changed(output):
                            made = fresh(output)
                if made is not None:
                    pop()
                    events += (LEAVE_ONE, top, stamp, given, made)
                else:
                    end(module, args, kwargs, output, stamp)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)

    return enter, leave


class _Slow:
    """What the hooks do where a call is not the usual one."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._events = recorder.events
        self._now = recorder.clock.now
        self._stacks = stacks = recorder.stacks
        self._references = recorder.references
        self._functions = recorder.references.functions
        stacks.describe, stacks.result = self.describe, self.result

    def begin(self, module: nn.Module, args: Any) -> None:
        recorder, stacks, met = self._recorder, self._stacks, self._now()
        if torch_internals.jit_tracing() is not None:
            recorder.jit_traced = True  # it takes down all that is done, ours too
            return
        caller = caller_of_module(_FRAME(2))
        open_, thread = stacks.here()
        stacks.settle(open_, caller)
        code, lasti = stacks.place(caller, open_)
        site = recorder.table.sites.get(id(module))
        if site is None:
            site = recorder.meet(module, open_)
            if site is None:
                return
        if not self._functions:
            self._references.look(args, True)
        if not open_[-1].key and not thread and self._functions:
            # else it could not be told from what is waited inside the call
            if met - (since := recorder.function_ended()) > LONG:
                recorder.waited(since, met)
        again = torch_internals.backward_number() != -1
        stamp = self._now()
        self._events += (SPENT, thread, met, stamp)
        open_.append(site)
        event = (ENTER, site, stamp, thread, code, lasti)
        self._events += (RECOMPUTED, thread, *event) if again else event
        for name in transforms():
            self._events += (UNSEEN, thread, name)

    def end(
        self, module: nn.Module, args: Any, kwargs: Any, output: Any, stamp: Any
    ) -> None:
        hook = frame_of_hook(_FRAME(1))
        open_, thread = self._stacks.here()
        error = None
        if output is _RAISED:
            error, output = sys.exc_info()[1], None
            kwargs = hook.f_locals.get("kwargs")
        elif output is None:
            error = _raised_in(hook)
        self._stacks.settle(open_, hook, error)
        key = id(module)
        if not any(site.key == key for site in open_):
            return
        while (site := open_[-1]).key != key:  # one that an interrupt left open
            open_.pop()
        if site.pre_hooks:
            site.pre_hooked = True
        inputs, named = self.describe(args, kwargs)
        head = (LEAVE, site, stamp, thread, named, len(inputs), *inputs)
        if error is not None:
            open_.pop()
            self._events += (FAIL, *head[1:], error_tuple(error))
        elif (
            site.forward_hooks
            or site.backward_hooks
            or site.backward_pre_hooks
            or torch_internals.backward_hooks
            or torch_internals.backward_pre_hooks
        ):
            # these run after ours, and may give the caller something else
            open_.append(Leaving(site, hook, head))
        else:
            open_.pop()
            self._events += (*head, self.result(output))
            self._events += (SPENT, thread, stamp, self._now())

    def describe(
        self, args: Any, kwargs: Any
    ) -> tuple[list[Any], dict[str, Any] | None]:
        """The arguments of a call as data."""
        met: Callable[[torch.Tensor], Reference] = self._references.met
        if self._functions:
            met = self._references.reference
        try:
            named = {key: freeze(arg, met) for key, arg in (kwargs or {}).items()}
            return [freeze(arg, met) for arg in args], named or None
        except Exception as fault:  # the call is recorded all the same
            self._recorder.fault(fault)
            return [], None

    def result(self, output: Any) -> Any:
        """What a call returned as data."""
        try:
            if self._functions or not is_tensor(output):
                return freeze(output, self._references.reference)
            return self._references.lookup(output) or self._references.define(output)
        except Exception as fault:  # the call is recorded all the same
            self._recorder.fault(fault)
            return Opaque(name_of_class(type(output)))


def _raised_in(frame: Any) -> BaseException | None:
    """The exception that the call in this frame is handling: it was caught there, so
    its traceback begins there. One that the user handles meanwhile began elsewhere."""
    error = sys.exc_info()[1]
    if error is not None and error.__traceback__ is not None:
        if error.__traceback__.tb_frame is frame:
            return error
    return None
