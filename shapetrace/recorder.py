"""Module calls and torch functions to one flat list of raw events: the hot file.

A module's call is watched from the slot in which `Module.compile` puts compiled code.
Forward hooks would do, and cost the dispatch-bound net of benchmarks/RESULTS.md another
0.7 times its own time: with a hook of any kind torch takes the long way through a call.
From the slot an exception of any kind is seen as well, also those of other hooks.
Functions are seen by a `TorchFunctionMode`.

Nothing here formats, decides or keeps a tensor. `events` is flat, each event being

    ENTER, site, stamp, thread, code, lasti, kwargs, n, *inputs
    EXIT,  site, stamp, thread, output
    FAIL,  site, stamp, thread, error
    CALL,  func, code, lasti, kwargs, n, *inputs, start, end, output
    MAKE,  func, code, lasti, kwargs, n, *inputs, start, end, ref, dtype, device,
           rank, *shape
    RAISE, func, code, lasti, kwargs, n, *inputs, start, end, error
    DEFINE, ref, shape, dtype, device, origin
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
from torch.overrides import TorchFunctionMode

from shapetrace.clocks import Clock
from shapetrace.records import Opaque, Origin
from shapetrace.source import INTERNAL, raised_at
from shapetrace.tensors import PLAIN, Definition, Reference, describe, freeze

if TYPE_CHECKING:
    from shapetrace.extensions import Companion

ENTER, EXIT, FAIL, CALL, MAKE, RAISE = range(6)
DEFINE, REPLAYED, VALUES, NOTE, LIVE = range(6, 11)

#: an exception's type, message, identity and place
Failure: TypeAlias = tuple[str, str, int, tuple[CodeType, int] | None]

#: where torch looks for what `Module.compile` made, before it calls a module itself
_SLOT = "_compiled_call_impl"
_FRAME = sys._getframe
_DISABLED = torch._C.DisableTorchFunction
_TENSOR = torch.Tensor
_SETITEM = torch.Tensor.__setitem__
_CPU = torch.device("cpu")
_MOST_TUPLES = 1000
_OUTSIDE = [Origin("outside", requires_grad=grad) for grad in (False, True)]
_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
#: the tensors that these take as class indices are worth a look at their values
_INDEX_LOSSES = {
    torch.nn.functional.cross_entropy,
    torch.nn.functional.nll_loss,
    torch.nn.functional.multi_margin_loss,
}
#: what these are given is data, not an argument
_MAKERS = {torch.tensor, torch.as_tensor, torch.asarray}


class Site:
    """One watched module: its name, the code of its forward (None: not Python), and
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
    its own say before and after each call.
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
        #: holds one once another thread has called a watched module
        self.threaded: list[int] = []
        #: arguments that are tuples of plain numbers, as data
        self.tuples: dict[tuple[Any, ...], Any] = {}
        self._seen: dict[int, Reference] = {}
        self._open: list[Site] = []
        #: each watched module, and what stood in its call slot before
        self._watched: dict[int, tuple[nn.Module, Any]] = {}
        self._discovering = 0
        self._prefixes: dict[str, int] = {}
        self._stack = ExitStack()

    # -- installing ------------------------------------------------------------

    @property
    def has_mode(self) -> bool:
        """Whether torch functions pass through a function mode."""
        companion = self.companion
        return self.functions or companion is not None and companion.looks_at_functions

    def install(self, roots: list[tuple[str, nn.Module]]) -> None:
        """Watch every module below the named roots; with no root, every module that
        is called. A failure on the way leaves nothing behind."""
        try:
            self._stack.callback(self._detach)
            for prefix, root in roots:
                self._attach(prefix, root)
            if not roots:
                self._discover()
            if self.functions:
                self._stack.enter_context(_mode(self))
            if self.companion is not None and self.companion.looks_at_functions:
                self._stack.enter_context(self.companion.mode())
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Take everything off again, in reverse order. Safe to call twice."""
        self._stack.close()

    def _detach(self) -> None:
        while self._watched:
            _, (module, before) = self._watched.popitem()
            if not is_watched(module.__dict__.get(_SLOT)):
                continue  # compiled meanwhile
            if before is None:
                del module.__dict__[_SLOT]
            else:
                module.__dict__[_SLOT] = before

    def live(self) -> list[tuple[str, nn.Module]]:
        """The watched modules, their tensors defined (again, where a lazy module has
        only now got them)."""
        found = list(self.modules.items())
        with _DISABLED():
            for name, module in found:
                self._register_tensors(name, module)
        return found

    def release(self) -> None:
        """Let go of the modules, once what they are has been asked."""
        self.modules.clear()
        self.tuples.clear()

    def known(self) -> dict[int, Reference]:
        """`id(tensor)` to reference, of the tensors that were seen and still exist."""
        return {key: ref for key, ref in list(self._seen.items()) if ref() is not None}

    def _attach(self, prefix: str, root: nn.Module) -> None:
        """Watch the calls of a tree of modules."""
        companion = self.companion
        depth = 2 + self._discovering + (companion is not None)
        watch = _watcher(self, depth)
        copied = torch.accelerator.device_count() > 1
        with _DISABLED():
            for path, module in root.named_modules():
                if id(module) in self._watched:
                    continue
                name = ".".join(part for part in (prefix, path) if part)
                self.modules[name] = module
                self._register_tensors(name, module)
                before = module.__dict__.get(_SLOT)
                call = before or (_called_itself if copied else module._call_impl)
                watched = watch(Site(name, module), call)
                if companion is not None:
                    watched = _accompany(module, watched, companion)
                self._watched[id(module)] = (module, before)
                module.__dict__[_SLOT] = watched

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
        """The parameters and buffers of all watched modules."""
        for name, module in list(self.modules.items()):
            yield from _own_tensors(name, module)

    def _discover(self) -> None:
        """For `trace()`: watch a tree of modules when its root is first called."""
        torchs = nn.Module.__call__

        def discover(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            # torch.jit.trace compares what it sees of a module in two runs
            if id(module) not in self._watched and not torch._C._is_tracing():
                try:
                    name = type(module).__name__
                    count = self._prefixes[name] = self._prefixes.get(name, 0) + 1
                    self._attach(name if count == 1 else f"{name}_{count}", module)
                except Exception as fault:  # ours must not end the user's batch
                    self.fault(fault)
            return torchs(module, *args, **kwargs)

        self._discovering = 1
        self._stack.callback(setattr, nn.Module, "__call__", torchs)
        nn.Module.__call__ = discover  # type: ignore[method-assign]

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
                return self._define(tensor, _OUTSIDE[tensor.requires_grad])
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
    return (type(error).__qualname__, message, id(error), place)


def _watcher(
    recorder: Recorder, depth: int
) -> Callable[[Site, Callable[..., Any]], Callable[..., Any]]:
    """Makes what stands in for the call of one module; `depth` frames above it calls
    who called the module. The modules share all but two variables: a set for each
    was 6 % of the dispatch-bound net, in cache misses and garbage collection."""
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

    def enter(site: Site, args: Any, kwargs: Any, frame: Any) -> None:
        nonlocal events
        try:
            named = {key: freeze(arg, reference) for key, arg in kwargs.items()}
            inputs = [freeze(arg, reference) for arg in args]
            code: CodeType | None
            thread = ident()
            if thread == main:
                thread = 0
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
                made = recorder.define(output)
        except Exception as fault:  # ours must not end the user's batch
            failed(fault)
            made = Opaque(type(output).__qualname__)
        events += (EXIT, site, stamp, thread, made)

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


_WATCHED = _code_of("watch.watched", _watcher)
_TORCHS_CALL = nn.Module._wrapped_call_impl.__code__


def is_watched(call: Any) -> bool:
    """Whether what stands in a module's call slot is a recorder's.

    >>> is_watched(None)
    False
    """
    return getattr(call, "__code__", None) in (_WATCHED, _ACCOMPANIED)


def _accompany(
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


_ACCOMPANIED = _code_of("accompanied", _accompany)


def _called_itself(*args: Any, **kwargs: Any) -> Any:
    """The call of the module that torch is calling: nn.DataParallel copies a module's
    `__dict__`, and with it what stands there for the call of the module."""
    frame: FrameType | None = _FRAME(1)
    while frame is not None and frame.f_code is not _TORCHS_CALL:
        frame = frame.f_back
    assert frame is not None
    return frame.f_locals["self"]._call_impl(*args, **kwargs)


def _place(
    frame: FrameType | None, recorder: Recorder | None = None
) -> tuple[CodeType | None, int]:
    """Code and instruction of the first user frame at or above `frame`; None where,
    with a recorder, the forward of the innermost open module, torch's own, comes
    first."""
    top = recorder._open[-1].code if recorder and recorder._open else None
    while frame is not None:
        code = frame.f_code
        if not INTERNAL[code.co_filename]:
            return code, frame.f_lasti
        if code is top:
            break
        frame = frame.f_back
    return None, 0


def _mode(recorder: Recorder) -> TorchFunctionMode:
    """The function mode: one event for each torch function that Python code calls."""
    events = recorder.events
    now = recorder.clock.now
    seen = recorder._seen
    known = seen.get
    failed = recorder.fault
    ref = weakref.ref
    open_sites = recorder._open
    modes_below = torch._C._len_torch_function_stack

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events
            if type(func) is MethodWrapperType:
                return _attribute(recorder, func, args, kwargs)
            n = len(args)
            kept = kwargs or None
            try:
                if kwargs:
                    for a in kwargs.values():
                        if type(a) not in PLAIN:
                            kept = _named(recorder, kwargs)
                            break
                    if func in _INDEX_LOSSES:
                        _read_target(recorder, args, kwargs)
                # one, two and three arguments are nearly all calls of small layers: a
                # list for them costs as much as looking them up
                if n == 2:
                    a, b = args
                    first, second = known(id(a)), known(id(b))
                    if first is None or first() is not a:
                        first = a if type(a) in PLAIN else _input(recorder, func, a)
                    if second is None or second() is not b:
                        second = b if type(b) in PLAIN else _input(recorder, func, b)
                elif n == 1:
                    a = args[0]
                    first = known(id(a))
                    if first is None or first() is not a:
                        first = _input(recorder, func, a)
                elif n == 3:
                    a, b, c = args
                    first, second, third = known(id(a)), known(id(b)), known(id(c))
                    if first is None or first() is not a:
                        first = a if type(a) in PLAIN else _input(recorder, func, a)
                    if second is None or second() is not b:
                        second = b if type(b) in PLAIN else _input(recorder, func, b)
                    if third is None or third() is not c:
                        third = c if type(c) in PLAIN else _input(recorder, func, c)
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
                        seen[id(output)] = one
                        return output
                if func is _SETITEM:
                    made = recorder.define(args[0])
                else:
                    made = freeze(output, recorder.define)
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


def _input(recorder: Recorder, func: Any, arg: Any) -> Any:
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
            found = recorder.tuples.get(key)
        except TypeError:  # a list in it has no hash
            return freeze(arg, recorder.reference)
        if found is None:
            found = freeze(arg, recorder.reference)
            if len(recorder.tuples) < _MOST_TUPLES and PLAIN.issuperset(key[2:]):
                recorder.tuples[key] = found
        return found
    return freeze(arg, recorder.reference)


def _named(recorder: Recorder, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments as data."""
    known = recorder._seen.get
    kept = {}
    for key, arg in kwargs.items():
        one = known(id(arg))
        if one is None or one() is not arg:
            one = arg if type(arg) in PLAIN else freeze(arg, recorder.reference)
        kept[key] = one
    return kept


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
