"""Watching the calls of modules.

A module's call is watched from the slot in which `Module.compile` puts compiled code.
Forward hooks would do, and cost the dispatch-bound net of benchmarks/RESULTS.md another
0.7 times its own time: with a hook of any kind torch takes the long way through a call.
From the slot an exception of any kind is seen as well, also those of other hooks.

Half a microsecond a call counts here: one flat list, since each tuple kept makes the
garbage collector run more often, which cost more than all the rest; a dict hit and one
identity test instead of reading a known tensor's shape; below a layer whose forward is
torch's own no frame is looked at, since the user's line is that of the layer's call.
Every event is added by one list operation, so that neither a KeyboardInterrupt nor
another thread can cut one in two.
"""

from __future__ import annotations

import sys
from _thread import get_ident as ident
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shapetrace.recording.events import ENTER, EXIT, FAIL, GIVEN, REPLAYED, error_tuple
from shapetrace.recording.tape import Site, Tape
from shapetrace.recording.tensors import freeze
from shapetrace.records import Opaque

if TYPE_CHECKING:
    from shapetrace.recording.extensions.base import Companion

#: where torch looks for what `Module.compile` made, before it calls a module itself
SLOT = "_compiled_call_impl"
_FRAME = sys._getframe
_TENSOR = torch.Tensor


def watcher(
    tape: Tape, depth: int
) -> Callable[[Site, Callable[..., Any]], Callable[..., Any]]:
    """Makes what stands in for the call of one module; `depth` frames above it calls
    who called the module. The modules share all but two variables: a set for each
    was 6 % of the dispatch-bound net, in cache misses and garbage collection."""
    events = tape.events
    now = tape.clock.now
    known = tape.seen.get if tape.functions else tape.unchanged
    reference = tape.reference
    failed = tape.fault
    main = tape.thread
    open_sites = tape.open_sites
    push = open_sites.append
    pop = open_sites.pop
    backward = torch._C._current_graph_task_id
    functions = tape.functions
    threaded = tape.threaded

    def enter(site: Site, args: Any, kwargs: Any, frame: Any) -> None:
        nonlocal events
        try:
            named = {key: freeze(arg, reference) for key, arg in kwargs.items()}
            inputs = [freeze(arg, reference) for arg in args]
            code: CodeType | None
            thread = ident()
            if thread == main:
                thread = 0
                code, lasti = tape.place(frame)
                if code is not None and backward() != -1:
                    events += (REPLAYED, 0)
                push(site)
            else:
                if not threaded:
                    threaded.append(thread)
                if backward() != -1:
                    events += (REPLAYED, thread)
                code, lasti = tape.place(frame)
            head = (ENTER, site, now(), thread, code, lasti, named or None)
            events += head + (len(inputs), *inputs)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)

    def close(site: Site) -> int:
        """No longer the innermost open call of its thread, whose number is given."""
        thread = ident()
        if thread != main:
            return thread
        if site in open_sites:
            while pop() is not site:  # one that an interrupt left open
                pass
        return 0

    def fail(site: Site, error: BaseException) -> None:
        nonlocal events
        try:
            events += (FAIL, site, now(), close(site), error_tuple(error))
        except Exception as fault:  # ours must not replace the user's exception
            failed(fault)

    def leave(site: Site, output: Any, stamp: Any) -> None:
        nonlocal events
        thread = close(site)
        try:
            one = known(id(output))
            if one is not None and one() is output:
                made: Any = one
            elif functions or type(output) is not _TENSOR:
                made = freeze(output, reference)
            else:
                made = tape.define(output)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)
            made = Opaque(type(output).__qualname__)
        events += (EXIT, site, stamp, thread, made)

    def through_hooks(site: Site, call: Any, args: Any, kwargs: Any) -> Any:
        """The call of a module that has pre-hooks. While they run, ours is the last of
        them, and notes what they have left of the inputs to the forward."""
        thread = ident()
        if thread != main:
            return call(*args, **kwargs)

        def given(module: nn.Module, args: Any, kwargs: Any) -> None:
            nonlocal events
            if ident() != thread:
                return
            site.pre_hooks.pop(given, None)
            site.with_kwargs.pop(given, None)
            try:
                named = {key: freeze(arg, reference) for key, arg in kwargs.items()}
                inputs = [freeze(arg, reference) for arg in args]
                events += (GIVEN, site, 0, named or None, len(inputs), *inputs)
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)

        site.pre_hooks[given] = given
        site.with_kwargs[given] = True
        try:
            return call(*args, **kwargs)
        finally:
            site.pre_hooks.pop(given, None)
            site.with_kwargs.pop(given, None)

    def watch(site: Site, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal events
            try:
                # the usual call: one known tensor, from the enclosing forward
                if (
                    len(args) == 1
                    and not kwargs
                    and open_sites
                    and (one := known(id(args[0]))) is not None
                    and one() is args[0]
                    and (frame := _FRAME(depth)).f_code is (top := open_sites[-1]).code
                    and ident() == main
                ):
                    push(site)
                    if top.internal:
                        events += (ENTER, site, now(), 0, None, 0, None, 1, one)
                    else:
                        at = frame.f_lasti
                        events += (ENTER, site, now(), 0, top.code, at, None, 1, one)
                else:
                    enter(site, args, kwargs, _FRAME(depth))
                if site.pre_hooks:
                    output = through_hooks(site, call, args, kwargs)
                else:
                    output = call(*args, **kwargs)
            except BaseException as error:
                fail(site, error)
                raise
            stamp = now()
            one = known(id(output))
            if (
                one is not None
                and one() is output
                and open_sites
                and open_sites[-1] is site
                and not threaded
            ):
                pop()
                events += (EXIT, site, stamp, 0, one)
            else:
                leave(site, output, stamp)
            return output

        return watched

    return watch


def _code_of(names: str, outer: Callable[..., Any]) -> CodeType:
    """The code of a function that is defined in another one."""
    code = outer.__code__
    for name in names.split("."):
        consts = (one for one in code.co_consts if isinstance(one, CodeType))
        code = next(one for one in consts if one.co_name == name)
    return code


_WATCHED = _code_of("watch.watched", watcher)
_TORCHS_CALL = nn.Module._wrapped_call_impl.__code__


def is_watched(call: Any) -> bool:
    """Whether what stands in a module's call slot is a recorder's.

    >>> is_watched(None)
    False
    """
    return getattr(call, "__code__", None) in (_WATCHED, _ACCOMPANIED)


def unwatch(module: nn.Module, site: Site) -> None:
    """Take one recorder's watching out of a module's call slot, where that of a trace
    which began later, and has not ended yet, may lie around it."""
    around, call = None, module.__dict__.get(SLOT)
    while is_watched(call) and _site(call) is not site:
        around, call = call, _site(call).before
    if not is_watched(call):
        return  # compiled meanwhile
    if around is not None:
        _site(around).before = site.before
        _cell("call", _inner(around)).cell_contents = _cell(
            "call", _inner(call)
        ).cell_contents
    elif site.before is None:
        del module.__dict__[SLOT]
    else:
        module.__dict__[SLOT] = site.before


def _inner(call: Any) -> Any:
    """What watches, without its companion."""
    if call.__code__ is _ACCOMPANIED:
        return _cell("watched", call).cell_contents
    return call


def _site(call: Any) -> Site:
    site: Site = _cell("site", _inner(call)).cell_contents
    return site


def _cell(name: str, function: Any) -> Any:
    """The cell of a variable that a function has from the one around it."""
    return function.__closure__[function.__code__.co_freevars.index(name)]


def accompany(
    module: nn.Module, watched: Callable[..., Any], companion: Companion
) -> Callable[..., Any]:
    """The companion's hooks around a watched call, so that their cost is not in it."""
    before, after = companion.hooks(module)

    def accompanied(*args: Any, **kwargs: Any) -> Any:
        before(module, args, kwargs)
        output = None
        try:
            output = watched(*args, **kwargs)
        finally:
            after(module, args, kwargs, output)
        return output

    return accompanied


_ACCOMPANIED = _code_of("accompanied", accompany)


def called_itself(*args: Any, **kwargs: Any) -> Any:
    """The call of the module that torch is calling: nn.DataParallel copies a module's
    `__dict__`, and with it what stands there for the call of the module."""
    frame: FrameType | None = _FRAME(1)
    while frame is not None and frame.f_code is not _TORCHS_CALL:
        frame = frame.f_back
    assert frame is not None
    return frame.f_locals["self"]._call_impl(*args, **kwargs)
