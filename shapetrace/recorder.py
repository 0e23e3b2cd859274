"""Hooks and a function mode to one flat list of raw events: the hot file.

Nothing here formats, decides or keeps a tensor. `events` is flat, each event being

    ENTER, site, stamp, thread, code, lasti, kwargs, n, *inputs
    EXIT,  site, stamp, thread, output
    FAIL,  site, stamp, thread, error, code, lasti, kwargs, n, *inputs
    CALL,  func, code, lasti, kwargs, n, *inputs, start, end, output
    MAKE,  func, code, lasti, kwargs, n, *inputs, start, end, ref, shape, dtype, device
    RAISE, func, code, lasti, kwargs, n, *inputs, start, end, error
    DEFINE, ref, shape, dtype, device, origin
    UNWIND, depth                     what stays open after a KeyboardInterrupt
    REPLAYED, thread                  the next call is made by a running backward
    VALUES, ref, (smallest, largest)
    NOTE, thread, cell                what extensions note of the next module call
    LIVE, stamp, bytes                activations alive from now on

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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import CodeType, FrameType, FunctionType, MethodWrapperType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.modules import module as module_hooks
from torch.overrides import TorchFunctionMode

from shapetrace.clocks import Clock
from shapetrace.records import Opaque, Origin
from shapetrace.source import INTERNAL, raised_at
from shapetrace.tensors import PLAIN, Definition, Reference, describe, freeze

if TYPE_CHECKING:
    from shapetrace.extensions import Companion

ENTER, EXIT, FAIL, CALL, MAKE, RAISE = range(6)
DEFINE, UNWIND, REPLAYED, VALUES, NOTE, LIVE = range(6, 12)

#: an exception's type, message, identity and place; whether torch runs no hooks for it
Failure: TypeAlias = tuple[str, str, int, tuple[CodeType, int] | None, bool]

_NO_HOOKS: tuple[list[Any], list[Any]] = ([], [])
_FRAME = sys._getframe
_DISABLED = torch._C.DisableTorchFunction
_TENSOR = torch.Tensor
_SETITEM = torch.Tensor.__setitem__
_CPU = torch.device("cpu")
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
    """One hooked module: its name, the code of its forward (None: not Python), and
    whether that is torch's own."""

    __slots__ = ("name", "code", "internal")

    def __init__(self, name: str, module: nn.Module) -> None:
        forward = module.forward
        self.name = name
        self.code = getattr(getattr(forward, "__func__", forward), "__code__", None)
        self.internal = self.code is not None and INTERNAL[self.code.co_filename]


class Recorder:
    """Installs itself on modules, records, and takes itself off again.

    `read_values` allows reading the smallest and largest class index that a loss is
    given; on an accelerator that is one synchronisation a loss call. `companion` has
    hooks of its own around those of the recorder.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        functions: bool = True,
        read_values: bool = True,
        companion: Companion | None = None,
    ) -> None:
        self.clock = clock
        self.companion = companion
        self.grad = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        self.functions = functions
        self.read_values = read_values
        self.events: list[Any] = []
        self.modules: dict[str, nn.Module] = {}
        #: what went wrong in here, in words: an exception would keep tensors alive
        self.faults: list[str] = []
        self.thread = ident()
        #: holds one once another thread has called a hooked module
        self.threaded: list[int] = []
        self._seen: dict[int, Reference] = {}
        self._open: list[Site] = []
        self._hooked: set[int] = set()
        self._scripted: dict[int, tuple[list[Any], list[Any]]] = {}
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
            if self.companion is not None and self.companion.looks_at_functions:
                self._stack.enter_context(self.companion.mode())
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Take every hook and the mode off, in reverse order. Safe to call twice."""
        self._stack.close()
        self._hooked.clear()

    def live(self) -> list[tuple[str, nn.Module]]:
        """The hooked modules, their tensors defined (again, where a lazy module has
        only now got them)."""
        found = list(self.modules.items())
        with _DISABLED():
            for name, module in found:
                self._register_tensors(name, module)
        return found

    def release(self) -> None:
        """Let go of the modules, once what they are has been asked."""
        self.modules.clear()

    def known(self) -> dict[int, Reference]:
        """`id(tensor)` to reference, of the tensors that were seen and still exist."""
        return {key: ref for key, ref in list(self._seen.items()) if ref() is not None}

    def _attach(self, prefix: str, root: nn.Module) -> Any:
        """Hook a tree of modules; gives the pre-hooks of its root."""
        first: Any = None
        with _DISABLED():
            for path, module in root.named_modules():
                if id(module) in self._hooked:
                    continue
                name = ".".join(part for part in (prefix, path) if part)
                self._hooked.add(id(module))
                self.modules[name] = module
                self._register_tensors(name, module)
                pre, post = _hooks(self, Site(name, module))
                befores, afters = [pre], [post]
                if self.companion is not None:
                    before, after = self.companion.hooks(module)
                    befores, afters = [before, pre], [post, after]
                first = first or befores
                if isinstance(module, torch.jit.ScriptModule):
                    self._hook_globally(module, befores, afters)
                    continue
                for hook in befores:
                    self._stack.callback(
                        module.register_forward_pre_hook(hook, with_kwargs=True).remove
                    )
                for hook in afters:
                    self._stack.callback(
                        module.register_forward_hook(
                            hook, with_kwargs=True, always_call=True
                        ).remove
                    )
        return first

    def _hook_globally(
        self, module: nn.Module, befores: list[Any], afters: list[Any]
    ) -> None:
        """A scripted module refuses hooks of its own; torch's global ones see it."""
        scripted = self._scripted

        def before(module: nn.Module, args: Any) -> None:
            for hook in scripted.get(id(module), _NO_HOOKS)[0]:
                hook(module, args, _FRAME(1).f_locals.get("kwargs") or {})

        def after(module: nn.Module, args: Any, output: Any) -> None:
            for hook in scripted.get(id(module), _NO_HOOKS)[1]:
                hook(module, args, {}, output)

        if not scripted:
            self._stack.callback(
                module_hooks.register_module_forward_pre_hook(before).remove
            )
            self._stack.callback(
                module_hooks.register_module_forward_hook(
                    after, always_call=True
                ).remove
            )
        scripted[id(module)] = (befores, afters)

    def _register_tensors(self, name: str, module: nn.Module) -> None:
        for tensor, origin in _own_tensors(name, module):
            if self._known(tensor) is None:
                self._define(tensor, origin)

    # -- of a long trace -----------------------------------------------------------

    def inside(self) -> bool:
        """Whether a module call is open in the tracing thread."""
        return bool(self._open)

    def forget_dead(self) -> dict[int, Reference]:
        """As `known`; the tensors that no longer exist are forgotten."""
        for key in [key for key, ref in list(self._seen.items()) if ref() is None]:
            del self._seen[key]
        return self.known()

    def own_tensors(self) -> Iterator[tuple[torch.Tensor, Origin]]:
        """The parameters and buffers of all hooked modules."""
        for name, module in list(self.modules.items()):
            yield from _own_tensors(name, module)

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
                name = name if count == 1 else f"{name}_{count}"
                for hook in self._attach(name, module):
                    hook(module, args, kwargs)
            except Exception as fault:  # ours must not end the user's batch
                self.fault(fault)

        return first

    def fault(self, error: BaseException) -> None:
        """Something of ours failed; the batch goes on."""
        self.faults.append(f"{type(error).__name__}: {error}")

    # -- tensors -----------------------------------------------------------------

    def _known(self, tensor: torch.Tensor) -> Reference | None:
        reference = self._seen.get(id(tensor))
        return reference if reference and reference() is tensor else None

    def _define(self, tensor: torch.Tensor, origin: Origin) -> Reference:
        definition = describe(tensor)
        self.events += (DEFINE, *definition, origin)
        self._seen[id(tensor)] = definition[0]  # last: another thread may look
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
                grad = tensor.requires_grad
                return self._define(tensor, Origin("outside", requires_grad=grad))
            return self._define(tensor, Origin("unseen", grad_fn.name(), True))

    def define(self, tensor: torch.Tensor) -> Definition:
        """A new version of a tensor, which a call has made or changed."""
        with _DISABLED():
            definition = describe(tensor)
        self._seen[id(tensor)] = definition[0]
        return definition

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


def _own_tensors(name: str, module: nn.Module) -> Iterator[tuple[torch.Tensor, Origin]]:
    own: list[tuple[Literal["parameter", "buffer"], dict[str, Any]]] = [
        ("parameter", module._parameters),
        ("buffer", module._buffers),
    ]
    for kind, tensors in own:
        for key, tensor in tensors.items():
            if tensor is not None and not is_lazy(tensor):
                full = f"{name}.{key}" if name else key
                yield tensor, Origin(kind, full, tensor.requires_grad)


def error_tuple(error: BaseException) -> Failure:
    """An exception without the exception."""
    try:
        message = str(error)
    except Exception:  # a user's exception with a broken __str__
        message = ""
    place = raised_at(error.__traceback__)
    skips = not isinstance(error, Exception)
    return (type(error).__qualname__, message, id(error), place, skips)


def _hooks(recorder: Recorder, site: Site) -> tuple[Any, Any]:
    """The two hooks of one module."""
    events = recorder.events
    now = recorder.clock.now
    known = recorder._seen.get
    reference = recorder.reference
    failed = recorder.fault
    main = recorder.thread
    open_sites = recorder._open
    push = open_sites.append
    pop = open_sites.pop
    backward = torch._C._current_graph_task_id
    functions = recorder.functions
    threaded = recorder.threaded

    def frozen(args: Any, kwargs: Any) -> tuple[Any, ...]:
        named = {key: freeze(arg, reference) for key, arg in kwargs.items()}
        inputs = [freeze(arg, reference) for arg in args]
        return (named, len(inputs), *inputs)

    def pre(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal events
        # the usual call: one known tensor, from the forward of the enclosing module
        if len(args) == 1 and not kwargs and open_sites and ident() == main:
            top = open_sites[-1]
            frame = _FRAME(4)
            if frame.f_code is top.code:
                one = known(id(args[0]))
                if one is not None and one() is args[0]:
                    push(site)
                    if top.internal:
                        events += (ENTER, site, now(), 0, None, 0, None, 1, one)
                        return
                    events += (
                        *(ENTER, site, now(), 0),
                        *(top.code, frame.f_lasti, None, 1, one),
                    )
                    return
        enter(args, kwargs, _FRAME(4))

    def enter(args: Any, kwargs: Any, frame: Any) -> None:
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
            # `frame`: above the hook are inner, _call_impl, _wrapped_call_impl
            code: CodeType | None = frame.f_code
            lasti = frame.f_lasti
            thread = ident()
            if thread == main:
                thread = 0
                if open_sites:
                    top = open_sites[-1]
                    if code is not top.code:
                        code, lasti = _place(frame, recorder)
                    elif top.internal:
                        code = None
                elif INTERNAL[frame.f_code.co_filename]:
                    code, lasti = _place(frame, recorder)
                if code is not None and backward() != -1:
                    events += (REPLAYED, 0)
                push(site)
            else:
                if not threaded:
                    threaded.append(thread)
                if backward() != -1:
                    events += (REPLAYED, thread)
                code, lasti = _place(frame)
            events += (ENTER, site, now(), thread, code, lasti, *inputs)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)

    def post(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal events
        stamp = now()
        if open_sites and open_sites[-1] is site and not threaded:
            one = known(id(output))
            if one is not None and one() is output and _FRAME(1).f_code is _INNER:
                pop()
                events += (EXIT, site, stamp, 0, one)
                return
        leave(args, kwargs, output, stamp, ident(), _FRAME(1))

    def leave(
        args: Any, kwargs: Any, output: Any, stamp: Any, thread: int, frame: Any
    ) -> None:
        nonlocal events
        try:
            if thread == main:
                thread = 0
                if open_sites and open_sites[-1] is site:
                    pop()
                elif site in open_sites:  # those above ended without their hooks
                    while pop() is not site:
                        pass
            if frame.f_code is not _INNER and (error := _error_here(frame)):
                inputs = frozen(args, kwargs)
                code, lasti = _place(frame.f_back)
                events += (FAIL, site, stamp, thread, error, code, lasti, *inputs)
                return
            one = known(id(output))
            if one is not None and one() is output:
                events += (EXIT, site, stamp, thread, one)
            elif functions or type(output) is not _TENSOR:
                made = freeze(output, reference)
                events += (EXIT, site, stamp, thread, made)
            else:
                events += (EXIT, site, stamp, thread, recorder.define(output))
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)
            events += (EXIT, site, stamp, thread, Opaque(type(output).__qualname__))

    return pre, post


def _place(
    frame: FrameType | None, recorder: Recorder | None = None
) -> tuple[CodeType | None, int]:
    """Code and instruction of the first user frame at or above `frame`; None where
    the forward of the enclosing hooked module, torch's own, comes first.

    With a recorder, it is made sure on the way that the innermost open call runs.
    """
    start, below = frame, None
    top = recorder._open[-1].code if recorder and recorder._open else None
    found: tuple[CodeType | None, int] = (None, 0)
    while frame is not None:
        code = frame.f_code
        if code is _INNER and (recorder is None or recorder._open):
            break
        if found[0] is None and not INTERNAL[code.co_filename]:
            found = (code, frame.f_lasti)
            if top is None:
                return found
        if code is top:
            return found
        below, frame = code, frame.f_back
    if recorder is not None and top is not None and below is not top:
        _unwind(recorder, start)
    return found


def _unwind(recorder: Recorder, frame: FrameType | None) -> None:
    """The innermost open call is not the caller: a hook of another library is, or
    what is open was ended by a KeyboardInterrupt, without its hooks."""
    running = 0
    while frame is not None:
        if frame.f_code is _INNER:
            running += id(frame.f_locals.get("self")) in recorder._hooked
        frame = frame.f_back
    if running < len(recorder._open):
        del recorder._open[running:]
        recorder.events += (UNWIND, running)


def _error_here(frame: FrameType) -> Failure | None:
    """The error that made torch call a post-hook with None, if one did.

    While `_call_impl` handles an exception, that exception's traceback begins in this
    very frame of `_call_impl`; an exception that the user's code is handling further
    out does not, so that a module which returns None is told apart.
    """
    error = sys.exc_info()[1]
    if error is not None and error.__traceback__ is not None:
        # `frame` called the post-hook: _call_impl, or a global hook that it called
        if error.__traceback__.tb_frame in (frame, frame.f_back):
            return error_tuple(error)
    return None


def _mode(recorder: Recorder) -> TorchFunctionMode:
    """The function mode: one event for each torch function that Python code calls."""
    events = recorder.events
    now = recorder.clock.now
    seen = recorder._seen
    known = seen.get
    reference = recorder.reference
    failed = recorder.fault
    ref = weakref.ref
    open_sites = recorder._open

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events
            if type(func) is MethodWrapperType:
                return _attribute(recorder, func, args, kwargs)
            n = len(args)
            try:
                kept = kwargs or None
                if kwargs:
                    for a in kwargs.values():
                        if type(a) not in PLAIN:
                            kept = {k: freeze(a, reference) for k, a in kwargs.items()}
                            break
                    if func in _INDEX_LOSSES:
                        _read_target(recorder, args, kwargs)
                if n == 2 and kept is None:
                    a, b = args
                    first, second = known(id(a)), known(id(b))
                    if first is None or first() is not a:
                        first = a if type(a) in PLAIN else freeze(a, reference)
                    if second is None or second() is not b:
                        second = b if type(b) in PLAIN else freeze(b, reference)
                elif n == 1:
                    a = args[0]
                    first = known(id(a))
                    if first is None or first() is not a:
                        first = _input(recorder, func, a)
                else:
                    inputs = []
                    for a in args:
                        first = known(id(a))
                        if first is None or first() is not a:
                            first = a if type(a) in PLAIN else _input(recorder, func, a)
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
                    code, lasti = _place(_FRAME(1), recorder)
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)
                return func(*args, **(kwargs or {}))
            start = now()
            try:
                output = func(*args, **kwargs) if kwargs else func(*args)
            except BaseException as error:
                try:
                    end = now()
                    recorder.read_failed(args, kwargs or {})
                    inputs = [_input(recorder, func, arg) for arg in args]
                    event = (RAISE, func, code, lasti, kept, n, *inputs)
                    events += event + (start, end, error_tuple(error))
                except Exception as fault:  # ours must not replace the user's
                    failed(fault)
                raise
            end = now()
            try:
                if type(output) is _TENSOR:
                    one = ref(output)
                    try:
                        shape = output.shape
                    except RuntimeError:  # a nested (ragged) tensor has no one shape
                        pass
                    else:
                        dtype = output.dtype
                        device = _CPU if output.is_cpu else output.device
                        if n == 2 and kept is None:
                            event = (MAKE, func, code, lasti, None, 2, first, second)
                        elif n == 1:
                            event = (MAKE, func, code, lasti, kept, 1, first)
                        else:
                            event = (MAKE, func, code, lasti, kept, n, *inputs)
                        events += event + (start, end, one, shape, dtype, device)
                        seen[id(output)] = one
                        return output
                if func is _SETITEM:
                    made = recorder.define(args[0])
                else:
                    made = freeze(output, recorder.define)
                inputs = [_input(recorder, func, arg) for arg in args]
                events += (CALL, func, code, lasti, kept, n, *inputs, start, end, made)
            except Exception as fault:  # ours must not end the user's batch
                failed(fault)
            return output

    return Mode()


def _input(recorder: Recorder, func: Any, arg: Any) -> Any:
    """One positional argument as data."""
    if type(arg) in PLAIN:
        return arg
    if func in _MAKERS and not isinstance(arg, _TENSOR):
        return None
    return freeze(arg, recorder.reference)


def _read_target(recorder: Recorder, args: Any, kwargs: dict[str, Any] | None) -> None:
    target = args[1] if len(args) > 1 else (kwargs or {}).get("target")
    recorder.read_range(target)


def _attribute(recorder: Recorder, func: Any, args: Any, kwargs: Any) -> Any:
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
        code, lasti = _place(_FRAME(2), recorder)
        stamp = recorder.clock.now()
        inputs = [freeze(arg, recorder.reference) for arg in args[: 1 + setting]]
        output = recorder.define(made)
        recorder.events += (
            *(CALL, func, code, lasti, None, len(inputs), *inputs),
            *(stamp, stamp, output),
        )
    except Exception as fault:  # ours must not end the user's batch
        recorder.fault(fault)
    return value


def _form(tensor: torch.Tensor) -> tuple[Any, ...]:
    with _DISABLED():
        return describe(tensor)[1:]
