"""Watching the torch functions that Python code calls: a `TorchFunctionMode`."""

from __future__ import annotations

import functools
import sys
import weakref
from types import CodeType, FunctionType, MethodWrapperType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from shapetrace.recording.events import CALL, MAKE, RAISE, error_tuple
from shapetrace.recording.tape import DISABLED, Tape
from shapetrace.recording.tensors import PLAIN, describe, freeze

_FRAME = sys._getframe
_TENSOR = torch.Tensor
_SETITEM = torch.Tensor.__setitem__
_CPU = torch.device("cpu")
_EMPTY = torch.empty
_MOST_TUPLES = 1000
#: what these are given is data, not an argument
_MAKERS = {torch.tensor, torch.as_tensor, torch.asarray}


def function_mode(tape: Tape) -> TorchFunctionMode:
    """The function mode: one event for each torch function that Python code calls."""
    events = tape.events
    now = tape.clock.now
    seen = tape.seen
    known = seen.get
    failed = tape.fault
    ref = weakref.ref
    open_sites = tape.open_sites
    modes_below = torch._C._len_torch_function_stack
    by_index = _index_losses()

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events
            if type(func) is MethodWrapperType:
                return _attribute(tape, func, args, kwargs)
            n = len(args)
            kept = kwargs or None
            try:
                if kwargs:
                    for a in kwargs.values():
                        if type(a) not in PLAIN:
                            kept = _named(tape, kwargs)
                            break
                    if func in by_index:
                        _read_target(tape, by_index[func], args, kwargs)
                # one, two and three arguments are nearly all calls of small layers: a
                # list for them costs as much as looking them up
                if n == 2:
                    a, b = args
                    first, second = known(id(a)), known(id(b))
                    if first is None or first() is not a:
                        first = a if type(a) in PLAIN else _input(tape, func, a)
                    if second is None or second() is not b:
                        second = b if type(b) in PLAIN else _input(tape, func, b)
                elif n == 1:
                    a = args[0]
                    first = known(id(a))
                    if first is None or first() is not a:
                        first = _input(tape, func, a)
                elif n == 3:
                    a, b, c = args
                    first, second, third = known(id(a)), known(id(b)), known(id(c))
                    if first is None or first() is not a:
                        first = a if type(a) in PLAIN else _input(tape, func, a)
                    if second is None or second() is not b:
                        second = b if type(b) in PLAIN else _input(tape, func, b)
                    if third is None or third() is not c:
                        third = c if type(c) in PLAIN else _input(tape, func, c)
                else:
                    inputs = []
                    for a in args:
                        first = known(id(a))
                        if first is None or first() is not a:
                            first = a if type(a) in PLAIN else _input(tape, func, a)
                        inputs.append(first)
                # a torch function written in Python stands between, with its handler
                frame = _FRAME(3 if type(func) is FunctionType else 1)
                code: CodeType | None = frame.f_code
                lasti = 0
                if open_sites and code is (top := open_sites[-1]).code:
                    if top.internal:
                        code = None
                    else:
                        lasti = frame.f_lasti
                else:
                    code, lasti = tape.place(_FRAME(1))
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)
                return func(*args, **(kwargs or {}))
            start = now()
            try:
                output = func(*args, **kwargs) if kwargs else func(*args)
            except BaseException as error:
                try:
                    end = now()
                    tape.read_failed(args, kwargs or {})
                    inputs = [_input(tape, func, arg) for arg in args]
                    event = (RAISE, func, code, lasti, kept, n, *inputs)
                    events += event + (start, end, error_tuple(error))
                except Exception as fault:  # ours must not replace the user's
                    failed(fault)
                raise
            end = now()
            try:
                # with a mode of the user's below this one, it would see what is read
                if type(output) is _TENSOR and not modes_below():
                    one = ref(output)
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
                                start, end, one, dtype, device, len(shape), *shape,
                            ]  # fmt: skip
                        elif n == 1:
                            events += [
                                MAKE, func, code, lasti, kept, 1, first,
                                start, end, one, dtype, device, len(shape), *shape,
                            ]  # fmt: skip
                        elif n == 3:
                            events += [
                                MAKE, func, code, lasti, kept, 3, first, second, third,
                                start, end, one, dtype, device, len(shape), *shape,
                            ]  # fmt: skip
                        else:
                            events += [
                                MAKE, func, code, lasti, kept, n, *inputs,
                                start, end, one, dtype, device, len(shape), *shape,
                            ]  # fmt: skip
                        # into an empty one torch puts the storage that a worker
                        # sends, by set_, which no mode sees: that is data from outside
                        if func is not _EMPTY or 0 not in shape:
                            seen[id(output)] = one
                        return output
                if func is _SETITEM:
                    made = tape.define(args[0])
                else:
                    made = freeze(output, tape.define)
                if n == 1:
                    inputs = [first]
                elif n == 2:
                    inputs = [first, second]
                elif n == 3:
                    inputs = [first, second, third]
                events += (CALL, func, code, lasti, kept, n, *inputs, start, end, made)
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)
            return output

    return Mode()


def _input(tape: Tape, func: Any, arg: Any) -> Any:
    """One positional argument as data."""
    kind = type(arg)
    if kind in PLAIN:
        return arg
    if func in _MAKERS and not isinstance(arg, _TENSOR):
        return None
    if (kind is tuple or kind is torch.Size) and arg and type(arg[0]) is int:
        # a stride, a shape: the same few in every call
        key = (kind, arg, *map(type, arg))
        try:
            found = tape.tuples.get(key)
        except TypeError:  # a list in it has no hash
            return freeze(arg, tape.reference)
        if found is None:
            found = freeze(arg, tape.reference)
            if len(tape.tuples) < _MOST_TUPLES and PLAIN.issuperset(key[2:]):
                tape.tuples[key] = found
        return found
    return freeze(arg, tape.reference)


def _named(tape: Tape, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as data."""
    known = tape.seen.get
    kept = {}
    for key, arg in kwargs.items():
        one = known(id(arg))
        if one is None or one() is not arg:
            one = arg if type(arg) in PLAIN else freeze(arg, tape.reference)
        kept[key] = one
    return kept


@functools.cache
def _index_losses() -> dict[Any, int]:
    """The losses whose class indices are worth a look at their values, and where each
    takes them."""
    from shapetrace.signatures.loss_facts import index_losses

    home = torch.nn.functional
    found = index_losses().items()
    return {getattr(home, name): at for name, at in found if hasattr(home, name)}


def _read_target(tape: Tape, at: int, args: Any, kwargs: dict[str, Any] | None) -> None:
    target = args[at] if len(args) > at else (kwargs or {}).get("target")
    tape.read_range(target)


def _attribute(tape: Tape, func: Any, args: Any, kwargs: Any) -> Any:
    """`x.shape` passes straight through; `x.T` and `x.data` make tensors, and so does
    `x.data = y` where `y` has another shape."""
    setting = func.__name__ == "__set__" and func.__self__.__name__ == "data"
    if setting:
        before = _form(args[0])
    value = func(*args, **(kwargs or {}))
    try:
        if setting:
            if _form(args[0]) == before:
                return value
            made = args[0]
        elif isinstance(value, _TENSOR) and func.__self__.__name__ != "grad":
            made = value
        else:
            return value
        code, lasti = tape.place(_FRAME(2))
        stamp = tape.clock.now()
        inputs = [freeze(arg, tape.reference) for arg in args[: 1 + setting]]
        output = tape.define(made)
        tape.events += (
            *(CALL, func, code, lasti, None, len(inputs), *inputs),
            *(stamp, stamp, output),
        )
    except Exception as fault:  # ours must not end the user's batch
        tape.fault(fault)
    return value


def _form(tensor: torch.Tensor) -> tuple[Any, ...]:
    with DISABLED():
        return describe(tensor)[1:]
