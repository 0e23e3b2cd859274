"""Hooks and a function mode to one flat list of raw events: the hot file.

Nothing here formats, decides or keeps a tensor. `events` is flat, each event being

    ENTER, site, stamp, thread, code, lasti, kwargs, n, *inputs
    EXIT,  site, stamp, thread, output
    FAIL,  site, stamp, thread, error, kwargs, n, *inputs
    CALL,  func, code, lasti, kwargs, n, *inputs, start, end, output
    MAKE,  func, code, lasti, kwargs, n, *inputs, start, end, ref, shape, dtype, device
    RAISE, func, code, lasti, kwargs, n, *inputs, start, end, error
    DEFINE, ref, shape, dtype, device, origin
    UNWIND, depth                     what stays open after a KeyboardInterrupt
    REPLAYED, thread                  the next call is made by a running backward
    VALUES, ref, (smallest, largest)

An input is plain data or the weak reference of a tensor defined before; `code` is None
where the place in the user's code is that of the enclosing module call; `thread` is 0
for the tracing thread. `replay.py` turns the events into records.

Half a microsecond a call counts here (benchmarks/RESULTS.md): one flat list, since each
tuple kept makes the garbage collector run more often, which cost more than all the
rest; a dict hit and one identity test instead of reading a known tensor's shape; below
a layer whose forward is torch's own no frame is looked at, since the user's line is
that of the layer's call. Every event is added by one list operation, so that neither a
KeyboardInterrupt nor another thread can cut one in two.
"""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident as ident
from collections.abc import Callable
from contextlib import ExitStack
from types import CodeType, FrameType, FunctionType, MethodWrapperType
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from shapetrace.clocks import Clock
from shapetrace.records import Origin
from shapetrace.source import INTERNAL, raised_at
from shapetrace.tensors import PLAIN, Definition, Reference, describe, freeze

ENTER, EXIT, FAIL, CALL, MAKE, RAISE = range(6)
DEFINE, UNWIND, REPLAYED, VALUES = range(6, 10)

_FRAME = sys._getframe
_DISABLED = torch._C.DisableTorchFunction
_TENSOR = torch.Tensor
_SETITEM = torch.Tensor.__setitem__
_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
#: the tensors that these take as class indices are worth a look at their values
_INDEX_LOSSES = {
    torch.nn.functional.cross_entropy,
    torch.nn.functional.nll_loss,
    torch.nn.functional.multi_margin_loss,
}
#: what these are given is data, not an argument
_MAKERS = {torch.tensor, torch.as_tensor, torch.asarray}


def _inner_code() -> CodeType | None:
    """The code in which `nn.Module._call_impl` runs hooks and forward."""
    for const in nn.Module._call_impl.__code__.co_consts:
        if isinstance(const, CodeType) and const.co_name == "inner":
            return const
    return None


_INNER = _inner_code()


class Site:
    """One hooked module: its name, and whether the functions called in its forward
    are called by torch's own code (`nn.Linear`) rather than by the user's."""

    __slots__ = ("name", "internal", "root")

    def __init__(self, name: str, module: nn.Module, root: bool) -> None:
        self.name = name
        self.root = root
        self.internal = _internal(module)


def _internal(module: nn.Module) -> bool:
    code = getattr(getattr(module.forward, "__func__", None), "__code__", None)
    if code is None or not INTERNAL[code.co_filename]:
        return False
    if module._forward_pre_hooks or module._forward_hooks:
        return False  # those of other libraries may call functions in the user's code
    return not any(  # such as the activation of nn.TransformerEncoderLayer
        isinstance(value, FunctionType) and not INTERNAL[value.__code__.co_filename]
        for value in vars(module).values()
    )


class Recorder:
    """Installs itself on modules, records, and takes itself off again.

    `read_values` allows reading the smallest and largest class index that a loss is
    given; on an accelerator that is one synchronisation a loss call.
    """

    def __init__(
        self, clock: Clock, *, functions: bool = True, read_values: bool = True
    ) -> None:
        self.clock = clock
        self.functions = functions
        self.read_values = read_values
        self.events: list[Any] = []
        self.modules: dict[str, weakref.ref[nn.Module]] = {}
        self.faults: list[BaseException] = []
        self.thread = ident()
        self._seen: dict[int, Reference] = {}
        self._open: list[Site] = []
        self._hooked: set[int] = set()
        self._prefixes: dict[str, int] = {}
        self._stack = ExitStack()

    # -- installing ------------------------------------------------------------

    def install(self, roots: list[tuple[str, nn.Module]]) -> None:
        """Hook every module below the named roots; with no root, every module that
        is called. A failure on the way leaves nothing behind."""
        try:
            for prefix, root in roots:
                self._attach(prefix, root)
            if not roots:
                self._stack.callback(
                    module_hooks.register_module_forward_pre_hook(
                        self._first_call()
                    ).remove
                )
            if self.functions:
                self._stack.enter_context(_mode(self))
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Take every hook and the mode off, in reverse order. Safe to call twice."""
        self._stack.close()
        self._hooked.clear()

    def live(self) -> list[tuple[str, nn.Module]]:
        """The hooked modules that still exist, their tensors defined (again, where a
        lazy module has only now got them)."""
        alive = [(name, ref()) for name, ref in self.modules.items()]
        found = [(name, module) for name, module in alive if module is not None]
        with _DISABLED():
            for name, module in found:
                self._register_tensors(name, module)
        return found

    def known(self) -> dict[int, Reference]:
        """`id(tensor)` to reference, of the tensors that were seen and still exist."""
        return {key: ref for key, ref in list(self._seen.items()) if ref() is not None}

    def _attach(self, prefix: str, root: nn.Module) -> Any:
        """Hook a tree of modules; gives the pre-hook of its root."""
        first: Any = None
        with _DISABLED():
            for path, module in root.named_modules():
                if id(module) in self._hooked:
                    continue
                name = ".".join(part for part in (prefix, path) if part)
                self._hooked.add(id(module))
                self.modules[name] = weakref.ref(module)
                self._register_tensors(name, module)
                pre, post = _hooks(self, Site(name, module, root=not path))
                first = first or pre
                for handle in (
                    module.register_forward_pre_hook(pre, with_kwargs=True),
                    module.register_forward_hook(
                        post, with_kwargs=True, always_call=True
                    ),
                ):
                    self._stack.callback(handle.remove)
        return first

    def _register_tensors(self, name: str, module: nn.Module) -> None:
        own: list[tuple[Literal["parameter", "buffer"], dict[str, Any]]] = [
            ("parameter", module._parameters),
            ("buffer", module._buffers),
        ]
        for kind, tensors in own:
            for key, tensor in tensors.items():
                if tensor is None or is_lazy(tensor):
                    continue
                if self._known(tensor) is None:
                    full = f"{name}.{key}" if name else key
                    self._define(tensor, Origin(kind, full))

    def _first_call(self) -> Callable[[nn.Module, Any], None]:
        """For `trace()`: a global pre-hook that hooks a module when it is first met.

        The tuple of hooks that torch is walking was made before, so this one call of
        the module is entered here; its keyword arguments stand in torch's own frame,
        since global pre-hooks are not given them.
        """

        def first(module: nn.Module, args: Any) -> None:
            if id(module) in self._hooked:
                return
            try:
                kwargs = _FRAME(1).f_locals.get("kwargs") or {}
                name = type(module).__name__
                count = self._prefixes[name] = self._prefixes.get(name, 0) + 1
                pre = self._attach(name if count == 1 else f"{name}_{count}", module)
                pre(module, args, kwargs)
            except Exception as fault:  # ours must not end the user's batch
                self.faults.append(fault)

        return first

    # -- tensors -----------------------------------------------------------------

    def _known(self, tensor: torch.Tensor) -> Reference | None:
        reference = self._seen.get(id(tensor))
        return reference if reference and reference() is tensor else None

    def _define(self, tensor: torch.Tensor, origin: Origin) -> Reference:
        definition = describe(tensor)
        self._seen[id(tensor)] = definition[0]
        self.events += (DEFINE, *definition, origin)
        return definition[0]

    def reference(self, tensor: torch.Tensor) -> Reference:
        """The reference of an input: a known one, or that of one from outside.

        >>> from shapetrace.clocks import NoClock
        >>> recorder, x = Recorder(NoClock()), torch.ones(2)
        >>> recorder.reference(x) is recorder.reference(x)
        True
        """
        known = self._known(tensor)
        if known is not None:
            return known
        with _DISABLED():
            grad_fn = tensor.grad_fn
            if grad_fn is None:
                return self._define(tensor, Origin("outside"))
            return self._define(tensor, Origin("unseen", grad_fn.name()))

    def define(self, tensor: torch.Tensor) -> Definition:
        """A new version of a tensor, which a call has made or changed."""
        with _DISABLED():
            definition = describe(tensor)
        self._seen[id(tensor)] = definition[0]
        return definition

    def forget(self, tensor: Any) -> None:
        """`tensor.data = …` gave it another shape: the next use describes it anew."""
        self._seen.pop(id(tensor), None)

    # -- values ------------------------------------------------------------------

    def read_range(self, tensor: Any) -> None:
        """Note the smallest and largest value of an integer tensor.

        On an accelerator the two numbers are read before the kernel is launched:
        afterwards a class index out of range would have ended the process's context.
        """
        if not self.read_values or not isinstance(tensor, _TENSOR):
            return
        with _DISABLED():
            if tensor.dtype in _INTEGERS and tensor.numel() and not tensor.is_meta:
                low, high = torch.aminmax(tensor.detach())
                one = self.reference(tensor)
                self.events += (VALUES, one, (int(low), int(high)))

    def read_failed(self, args: Any, kwargs: dict[str, Any]) -> None:
        """After a call raised: the range of its integer tensors may explain it."""
        for value in (*args, *kwargs.values()):
            if isinstance(value, _TENSOR) and value.device.type == "cpu":
                self.read_range(value)


def error_tuple(error: BaseException) -> tuple[str, str, int, Any]:
    """Type, message, identity and place of an exception, without the exception."""
    try:
        message = str(error)
    except Exception:  # a user's exception with a broken __str__
        message = ""
    return (type(error).__qualname__, message, id(error), raised_at(error.__traceback__))


def _hooks(recorder: Recorder, site: Site) -> tuple[Any, Any]:
    """The two hooks of one module."""
    events = recorder.events
    now = recorder.clock.now
    known = recorder._seen.get
    reference = recorder.reference
    faults = recorder.faults
    main = recorder.thread
    open_sites = recorder._open
    push = open_sites.append
    pop = open_sites.pop
    root = site.root
    backward = torch._C._current_graph_task_id
    functions = recorder.functions
    ref = weakref.ref

    def frozen(args: Any, kwargs: Any) -> tuple[Any, ...]:
        named = {key: freeze(arg, reference) for key, arg in kwargs.items()}
        inputs = [freeze(arg, reference) for arg in args]
        return (named, len(inputs), *inputs)

    def pre(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal events
        try:
            inputs: tuple[Any, ...]
            if (
                len(args) == 1
                and not kwargs
                and (one := known(id(args[0]))) is not None
                and one() is args[0]
            ):
                inputs = (None, 1, one)
            else:
                inputs = frozen(args, kwargs)
            thread = ident()
            if thread == main:
                thread = 0
                if open_sites:
                    if root:
                        _unwind(recorder)
                    if open_sites and open_sites[-1].internal:
                        push(site)
                        events += (ENTER, site, now(), 0, None, 0, *inputs)
                        return
                elif backward() != -1:
                    events += (REPLAYED, 0)
                push(site)
            elif backward() != -1:
                events += (REPLAYED, thread)
            # above this frame: inner, _call_impl, _wrapped_call_impl, the caller
            frame: Any = _FRAME(4)
            code: CodeType | None = frame.f_code
            lasti = frame.f_lasti
            if INTERNAL[frame.f_code.co_filename]:
                frame = _FRAME(1)
                while frame.f_code is not _INNER:
                    frame = frame.f_back
                code, lasti = _place(frame.f_back)
            events += (ENTER, site, now(), thread, code, lasti, *inputs)
        except Exception as fault:  # ours must not end the user's batch
            faults.append(fault)

    def post(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal events
        stamp = now()
        try:
            thread = ident()
            if thread == main:
                thread = 0
                if open_sites and open_sites[-1] is site:
                    pop()
            one = known(id(output))
            if one is not None and one() is output:
                events += (EXIT, site, stamp, thread, one)
            elif output is None and (error := _error_here()) is not None:
                inputs = frozen(args, kwargs)
                events += (FAIL, site, stamp, thread, error, *inputs)
            elif functions or type(output) is not _TENSOR:
                made = freeze(output, reference)
                events += (EXIT, site, stamp, thread, made)
            else:
                with _DISABLED():
                    made = (ref(output), output.shape, output.dtype, output.device)
                recorder._seen[id(output)] = made[0]
                events += (EXIT, site, stamp, thread, made)
        except Exception as fault:  # ours must not end the user's batch
            faults.append(fault)

    return pre, post


def _place(frame: FrameType | None) -> tuple[CodeType | None, int]:
    """Code and instruction of the first user frame at or above `frame`; None where
    the frame of an enclosing hooked module comes first."""
    while frame is not None:
        code = frame.f_code
        if code is _INNER:
            break
        if not INTERNAL[code.co_filename]:
            return code, frame.f_lasti
        frame = frame.f_back
    return None, 0


def _unwind(recorder: Recorder) -> None:
    """A root is entered while calls are open: recursion, or remains of calls that a
    KeyboardInterrupt ended without their hooks. Only what still runs stays open."""
    running, frame = 0, _FRAME(2).f_back
    while frame is not None:
        running += frame.f_code is _INNER
        frame = frame.f_back
    if running < len(recorder._open):
        del recorder._open[running:]
        recorder.events += (UNWIND, running)


def _error_here() -> tuple[str, str, int, Any] | None:
    """The error that made torch call a post-hook with None, if one did.

    While `_call_impl` handles an exception, that exception's traceback begins in this
    very frame of `_call_impl`; an exception that the user's code is handling further
    out does not, so that a module which returns None is told apart.
    """
    error = sys.exc_info()[1]
    if error is not None and error.__traceback__ is not None:
        if error.__traceback__.tb_frame is _FRAME(2):
            return error_tuple(error)
    return None


def _mode(recorder: Recorder) -> TorchFunctionMode:
    """The function mode: one event for each torch function that Python code calls."""
    events = recorder.events
    now = recorder.clock.now
    seen = recorder._seen
    known = seen.get
    reference = recorder.reference
    faults = recorder.faults
    ref = weakref.ref
    open_sites = recorder._open

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events
            if type(func) is MethodWrapperType:
                return _attribute(recorder, func, args, kwargs)
            try:
                inputs: Any
                if kwargs:
                    if func in _INDEX_LOSSES:
                        _read_target(recorder, args, kwargs)
                    for arg in kwargs.values():
                        if type(arg) not in PLAIN:
                            kwargs_kept = {
                                key: freeze(arg, reference)
                                for key, arg in kwargs.items()
                            }
                            break
                    else:
                        kwargs_kept = kwargs
                else:
                    kwargs_kept = None
                inputs = []
                for arg in args:
                    if (one := known(id(arg))) is not None and one() is arg:
                        inputs.append(one)
                    elif type(arg) in PLAIN:
                        inputs.append(arg)
                    elif func in _MAKERS:
                        inputs.append(None)
                    else:
                        inputs.append(freeze(arg, reference))
                if open_sites and open_sites[-1].internal:
                    code, lasti = None, 0
                else:
                    frame = _FRAME(1)
                    code = frame.f_code
                    if INTERNAL[code.co_filename]:
                        code, lasti = _place(frame.f_back)
                    else:
                        lasti = frame.f_lasti
            except Exception as fault:  # ours must not end the user's batch
                faults.append(fault)
                return func(*args, **(kwargs or {}))
            start = now()
            try:
                output = func(*args, **kwargs) if kwargs else func(*args)
            except BaseException as error:
                try:
                    end = now()
                    recorder.read_failed(args, kwargs or {})
                    events += (
                        *(RAISE, func, code, lasti, kwargs_kept, len(args), *inputs),
                        *(start, end, error_tuple(error)),
                    )
                except Exception as fault:  # ours must not replace the user's
                    faults.append(fault)
                raise
            end = now()
            try:
                if type(output) is _TENSOR:
                    one = seen[id(output)] = ref(output)
                    events += (
                        MAKE,
                        func,
                        code,
                        lasti,
                        kwargs_kept,
                        len(args),
                        *inputs,
                        start,
                        end,
                        one,
                        output.shape,
                        output.dtype,
                        output.device,
                    )
                else:
                    if func is _SETITEM:
                        made = recorder.define(args[0])
                    else:
                        made = freeze(output, recorder.define)
                    events += (
                        *(CALL, func, code, lasti, kwargs_kept, len(args), *inputs),
                        *(start, end, made),
                    )
            except Exception as fault:  # ours must not end the user's batch
                faults.append(fault)
            return output

    return Mode()


def _read_target(recorder: Recorder, args: Any, kwargs: dict[str, Any] | None) -> None:
    target = args[1] if len(args) > 1 else (kwargs or {}).get("target")
    recorder.read_range(target)


def _attribute(recorder: Recorder, func: Any, args: Any, kwargs: Any) -> Any:
    """`x.shape` passes straight through; `x.T` and `x.data` make tensors."""
    value = func(*args, **(kwargs or {}))
    if isinstance(value, _TENSOR):
        try:
            if func.__self__.__name__ != "grad":
                code, lasti = _place(_FRAME(2))
                stamp = recorder.clock.now()
                one = recorder.reference(args[0])
                made = recorder.define(value)
                recorder.events += (
                    *(CALL, func, code, lasti, None, 1, one),
                    *(stamp, stamp, made),
                )
        except Exception as fault:  # ours must not end the user's batch
            recorder.faults.append(fault)
    elif func.__name__ == "__set__":
        recorder.forget(args[0])
    return value
