"""Watching the torch functions that Python code calls: a `TorchFunctionMode`."""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident as ident
from types import CodeType, FunctionType, MethodWrapperType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.collectives import HANDLE
from shapetrace.recording.events import (
    BEGUN,
    CALL,
    MAKE,
    RAISE,
    READ,
    THREAD,
    UNSEEN,
    error_tuple,
)
from shapetrace.recording.hidden import BACKWARDS, custom_backwards, transforms
from shapetrace.recording.owned import is_exchanged
from shapetrace.recording.run_queue import LONG
from shapetrace.recording.tensors import PLAIN, form_of, freeze, is_tensor
from shapetrace.recording.user_calls import NOT_MADE, PASSED, catching
from shapetrace.recording.warned_from import SILENT, WARNS_OF_READING

if TYPE_CHECKING:
    from shapetrace.recording.recorder import Recorder

_DISABLED = torch_internals.unseen_by_modes
_FRAME = sys._getframe
#: what is compiled is compiled by this, which few programs load: told in a hundredth of
#: a microsecond
_COMPILER, _LOADED = "torch._dynamo", sys.modules
_TENSOR = torch.Tensor
_SETITEM = torch.Tensor.__setitem__
_CPU = torch.device("cpu")
_EMPTY = torch.empty
_MOST_TUPLES = 1000
#: what these are given is data, not an argument
_MAKERS = {torch.tensor, torch.as_tensor, torch.asarray}


class _Unrecorded(Exception):
    """What is called now is none of the recording's."""


def function_mode(recorder: Recorder) -> TorchFunctionMode:
    """The function mode: one event for each torch function that Python code calls."""
    events = recorder.events
    now = recorder.clock.now
    references = recorder.references
    seen = references.seen
    known = seen.get
    define = references.define
    failed = recorder.fault
    ref = weakref.ref
    stacks = recorder.stacks
    stack = stacks.main
    others = stacks.others
    alone = not torch_internals.count_modes()
    compiling = torch.compiler.is_dynamo_compiling
    tracing = torch_internals.jit_tracing
    caught = catching(failed)
    input_of = _Arguments(recorder).freeze
    python = recorder.python_functions
    callers, silent = recorder.callers, SILENT.get
    warns, standing_in, standing_at = callers.warns, callers.standing_in, callers.at
    values, handles, waited = recorder.values, recorder.handles, recorder.waited
    #: when the last function ended, or the block began
    last: Any = sys.maxsize if recorder.began is None else recorder.began

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events, last
            try:
                met = now()
                kind = type(func)
                kept = kwargs or None
                code: CodeType | None = None
                caller = start = None
                thread = lasti = 0
                # Dynamo looks through modes into what it compiles
                if _COMPILER in _LOADED and compiling():
                    caller = PASSED
                elif kind is MethodWrapperType:
                    caller = attribute
                else:
                    n = len(args)
                    # the usual call: from the forward of the innermost open module
                    top = stack[-1]
                    if kind is FunctionType:
                        # torch's function and its handler stand between
                        frame = _FRAME(3)
                        if python.get(func, True) and meet(func, args, kwargs):
                            stands = standing_in(frame, kwargs)
                            caller = stands if type(stands) is FunctionType else None
                    else:
                        frame = _FRAME(1)
                        if silent(func, -1) != n or kwargs:
                            stands = standing_at(frame)
                            caller = stands if type(stands) is FunctionType else None
                    if frame.f_code is not top.code or others:
                        code, lasti, thread = place(_FRAME(1), args)
                    elif not top.internal:
                        code, lasti = top.code, frame.f_lasti
                    if kwargs:
                        for a in kwargs.values():
                            if type(a) not in PLAIN:
                                kept = named(kwargs)
                                break
                    # one, two and three arguments are nearly all calls of small
                    # layers: a list for them costs as much as looking them up
                    if n == 2:
                        a, b = args
                        first, second = known(id(a)), known(id(b))
                        if first is None or first() is not a:
                            first = a if type(a) in PLAIN else input_of(func, a)
                        if second is None or second() is not b:
                            second = b if type(b) in PLAIN else input_of(func, b)
                    elif n == 1:
                        a = args[0]
                        first = known(id(a))
                        if first is None or first() is not a:
                            first = input_of(func, a)
                    elif n == 3:
                        a, b, c = args
                        first, second, third = known(id(a)), known(id(b)), known(id(c))
                        if first is None or first() is not a:
                            first = a if type(a) in PLAIN else input_of(func, a)
                        if second is None or second() is not b:
                            second = b if type(b) in PLAIN else input_of(func, b)
                        if third is None or third() is not c:
                            third = c if type(c) in PLAIN else input_of(func, c)
                    else:
                        inputs, a = [], None
                        for a in args:
                            first = known(id(a))
                            if first is None or first() is not a:
                                first = a if type(a) in PLAIN else input_of(func, a)
                            inputs.append(first)
                    start = now()
            except Exception as fault:  # ours must not end the user's batch
                unless_unrecorded(fault)
                caller, code, kept, start = PASSED, None, None, None
                thread = lasti = 0
            try:
                if caller is None:
                    output = func(*args, **kwargs) if kwargs else func(*args)
                elif caller is attribute:
                    return attribute(func, args, kwargs)
                elif caller is PASSED:
                    return func(*args, **(kwargs or {}))
                else:
                    output = caller(func, args, kwargs or {})
            except noted(func, code, lasti, kept, args, kwargs, start, thread):
                output = NOT_MADE
            try:
                end = now()
                if end - last > LONG:
                    waited(last, end)
                last = end
                # with a mode of the user's below this one, it would see what is read
                if type(output) is _TENSOR and alone and not thread:
                    # changed in place: a module may own it
                    one: Any = ref(output) if output is not a else first
                    try:
                        shape = output.shape
                    except RuntimeError:  # a nested (ragged) tensor has no one shape
                        pass
                    else:
                        dtype = output.dtype
                        device = _CPU if output.is_cpu else output.device
                        if n == 2:
                            events += [
                                MAKE, func, code, lasti, kept, 2, first, second,
                                start, end, one, dtype, device, len(shape), *shape, met,
                            ]  # fmt: skip
                        elif n == 1:
                            events += [
                                MAKE, func, code, lasti, kept, 1, first,
                                start, end, one, dtype, device, len(shape), *shape, met,
                            ]  # fmt: skip
                        elif n == 3:
                            events += [
                                MAKE, func, code, lasti, kept, 3, first, second, third,
                                start, end, one, dtype, device, len(shape), *shape, met,
                            ]  # fmt: skip
                        else:
                            events += [
                                MAKE, func, code, lasti, kept, n, *inputs,
                                start, end, one, dtype, device, len(shape), *shape, met,
                            ]  # fmt: skip
                        # into an empty one torch puts the storage that a worker
                        # sends, by set_, which no mode sees: that is data from outside
                        if func is not _EMPTY or 0 not in shape:
                            seen[id(output)] = one
                        return output
                if output is not NOT_MADE:
                    if func is _SETITEM:
                        made = define(args[0])
                    else:
                        made = freeze(output, define)
                    if n == 1:
                        inputs = [first]
                    elif n == 2:
                        inputs = [first, second]
                    elif n == 3:
                        inputs = [first, second, third]
                    head = (CALL, func, code, lasti, kept, n, *inputs)
                    note(thread, (*head, start, end, made, met, now()))
                    if isinstance(output, HANDLE) and not thread:
                        if (done := handles.begun(output, args)) is not None:
                            events.extend((BEGUN, done))
                    return output
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)
            if output is NOT_MADE:
                return func(*args, **(kwargs or {}))
            return output

    def noted(
        func: Any,
        code: CodeType | None,
        lasti: int,
        kept: Any,
        args: Any,
        kwargs: Any,
        start: Any,
        thread: int,
    ) -> Any:
        """Notes what the user's call raised; what is caught of it: see `catching`."""
        try:
            end, error = now(), sys.exc_info()[1]
            kinds = caught()
            if start is not None and error is not None and kinds == ():
                values.read_failed(args, kwargs or {})
                inputs = [input_of(func, arg) for arg in args]
                head = (RAISE, func, code, lasti, kept, len(args), *inputs)
                note(thread, (*head, start, end, error_tuple(error)))
            return kinds
        except Exception as fault:  # ours must not replace the user's
            failed(fault)
        return ()

    def unless_unrecorded(fault: Exception) -> None:
        if type(fault) is not _Unrecorded:
            failed(fault)

    def meet(func: Any, args: Any, kwargs: Any) -> bool:
        """Whether a function of torch's that is written in Python may warn. Asked once,
        but of those that may, and of those whose arguments are looked at each time."""
        may_warn, by_index = warns(func), func in values.by_index
        python[func] = may_warn or by_index or func in BACKWARDS
        if by_index:
            values.read_target(func, args, kwargs)
        elif func in BACKWARDS:
            # else it could not be told from what is waited in the backward
            if (begins := now()) - last > LONG:
                waited(last, begins)
            _, thread = stacks.here()
            for name in custom_backwards(args, kwargs):
                events.extend((UNSEEN, thread, name))
        return may_warn

    def place(frame: Any, args: Any) -> tuple[CodeType | None, int, int]:
        """Code, instruction and thread of a call that a forward did not make itself.
        Raises where what happens now is not recorded: torch.jit.trace takes down all
        that is done with a tensor, also by us; and what torch exchanges a tensor for
        must not be known."""
        if tracing() is not None:
            recorder.jit_traced = True
            raise _Unrecorded
        if args and is_exchanged(args[0], frame):
            references.forget(args[0])  # it will have another form
            raise _Unrecorded
        open_, thread = stacks.here()
        stacks.settle(open_, frame)
        for name in transforms():
            events.extend((UNSEEN, thread, name))
        return (*stacks.place(frame, open_), thread)

    def function_ended() -> Any:
        return last

    def note(thread: int, event: tuple[Any, ...]) -> None:
        nonlocal events
        events += (THREAD, thread, *event) if thread else event

    def named(kwargs: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments as data."""
        kept = {}
        for key, arg in kwargs.items():
            one = known(id(arg))
            if one is None or one() is not arg:
                one = arg if type(arg) in PLAIN else freeze(arg, references.reference)
            kept[key] = one
        return kept

    def attribute(func: Any, args: Any, kwargs: Any) -> Any:
        """`x.shape` is counted, for its time; `x.T` and `x.data` make tensors, and so
        does `x.data = y` where `y` has another shape. `x.requires_grad = False` is
        recorded as the method that does the same: what is frozen is not to be trained,
        and a backward goes to what asks for a gradient.
        """
        try:
            name = getattr(func.__self__, "__name__", "")
            setting = func.__name__ == "__set__"
            before = _form(args[0]) if setting and name == "data" else None
            warns = not setting and func.__self__ in WARNS_OF_READING
            stands = standing_at(_FRAME(2)) if warns else None
            caller = stands if type(stands) is FunctionType else None
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)
            setting, name, before, caller = False, "", None, None
        try:
            if caller is not None:
                value = caller(func, args, kwargs or {})
            else:
                value = func(*args, **(kwargs or {}))
        except caught():
            value = NOT_MADE
        try:
            if ident() == stacks.thread:
                events.append(READ)
            made, maker = None, func
            if value is NOT_MADE or name == "grad":
                pass
            elif not setting:
                made = value if is_tensor(value) else None
            elif name == "requires_grad":
                made, maker = args[0], torch.Tensor.requires_grad_
            elif name == "data" and _form(args[0]) != before:
                made = args[0]
            if made is not None:
                code, lasti, thread = place(_FRAME(2), args)
                stamp = now()
                taken = args[: 1 + setting]
                inputs = [freeze(arg, references.reference) for arg in taken]
                head = (CALL, maker, code, lasti, None, len(inputs), *inputs)
                note(thread, (*head, stamp, stamp, define(made), stamp, now()))
            if value is not NOT_MADE:
                return value
        except Exception as fault:  # ours must not end the user's batch
            unless_unrecorded(fault)
        if value is NOT_MADE:
            return func(*args, **(kwargs or {}))
        return value

    recorder.function_ended = function_ended
    return Mode()


class _Arguments:
    """Arguments that are neither plain nor known tensors, as data."""

    def __init__(self, recorder: Recorder) -> None:
        self._reference = recorder.references.reference
        self._tuples = recorder.tuples

    def freeze(self, func: Any, arg: Any) -> Any:
        """One positional argument as data."""
        kind = type(arg)
        if kind in PLAIN:
            return arg
        if func in _MAKERS and not is_tensor(arg):
            return None
        if (kind is tuple or kind is torch.Size) and arg and type(arg[0]) is int:
            # a stride, a shape: the same few in every call
            key = (kind, arg, *map(type, arg))
            try:
                found = self._tuples.get(key)
            except TypeError:  # a list in it has no hash
                return freeze(arg, self._reference)
            if found is None:
                found = freeze(arg, self._reference)
                if len(self._tuples) < _MOST_TUPLES and PLAIN.issuperset(key[2:]):
                    self._tuples[key] = found
            return found
        return freeze(arg, self._reference)


def _form(tensor: torch.Tensor) -> tuple[Any, ...]:
    with _DISABLED():
        return form_of(tensor)
