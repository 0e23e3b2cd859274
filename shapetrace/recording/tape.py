"""The tape: the list of events, and what is known of the tensors in it.

Nothing here formats, decides or keeps a tensor: one is known by its `id`, held to it by
a weak reference, since the interpreter uses an id again at once.
"""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from shapetrace.recording.clocks import Clock
from shapetrace.recording.events import DEFINE, VALUES
from shapetrace.recording.tensors import Definition, Reference, describe
from shapetrace.records import Origin
from shapetrace.source.place import INTERNAL

DISABLED = torch._C.DisableTorchFunction
_MODES = torch._C._len_torch_function_stack
_OUTSIDE = [Origin("outside", requires_grad=grad) for grad in (False, True)]
_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}


class Site:
    """One watched module: its name, the code of its forward (None: not Python), whether
    that is torch's own, where its pre-hooks are registered, and what stood in its call
    slot before."""

    __slots__ = ("name", "code", "internal", "pre_hooks", "with_kwargs", "before")

    def __init__(self, name: str, module: nn.Module) -> None:
        forward = module.forward
        self.name = name
        self.before: Any = None
        self.code = getattr(getattr(forward, "__func__", forward), "__code__", None)
        self.internal = self.code is not None and INTERNAL[self.code.co_filename]
        self.pre_hooks: dict[Any, Any] = module._forward_pre_hooks
        self.with_kwargs: dict[Any, bool] = module._forward_pre_hooks_with_kwargs

    def release(self) -> None:
        """Let go of the hooks, which are the user's."""
        self.pre_hooks = self.with_kwargs = {}


class Tape:
    """What is recorded, and the bookkeeping that recording needs."""

    def __init__(self, clock: Clock, *, functions: bool, read_values: bool) -> None:
        self.clock = clock
        self.functions = functions
        self.read_values = read_values
        self.events: list[Any] = []
        #: what went wrong in here, in words: an exception would keep tensors alive
        self.faults: list[str] = []
        self.thread = ident()
        #: holds one once another thread has called a watched module
        self.threaded: list[int] = []
        #: arguments that are tuples of plain numbers, as data
        self.tuples: dict[tuple[Any, ...], Any] = {}
        #: by `id` of the tensor
        self.seen: dict[int, Reference] = {}
        #: without function events, what a tensor was when it was last described
        self.forms: dict[int, Definition] = {}
        #: the modules whose calls are open in the tracing thread, the innermost last
        self.open_sites: list[Site] = []

    def fault(self, error: BaseException) -> None:
        """Something of ours failed; the batch goes on."""
        self.faults.append(f"{type(error).__name__}: {error}")

    def lookup(self, tensor: torch.Tensor) -> Reference | None:
        """The reference of a tensor that is known."""
        known = self.seen.get if self.functions else self.unchanged
        reference = known(id(tensor))
        return reference if reference and reference() is tensor else None

    def unchanged(self, key: int) -> Reference | None:
        """What `seen` says, unless the tensor has another shape since: without function
        events nobody has seen its `unsqueeze_`."""
        reference = self.seen.get(key)
        tensor = reference() if reference is not None else None
        if tensor is None:
            return None
        form = self.forms[key]
        if type(tensor) is torch.Tensor and form[1] and not _MODES():
            same = (
                tensor.shape == form[1]
                and tensor.dtype is form[2]
                and tensor.device == form[3]
            )
        else:
            with DISABLED():
                same = describe(tensor) == form
        return reference if same else None

    def define_as(self, tensor: torch.Tensor, origin: Origin) -> Reference:
        """A tensor that no recorded call has made."""
        definition = describe(tensor)
        self.events += (DEFINE, *definition, origin)
        if not self.functions:
            self.forms[id(tensor)] = definition
        self.seen[id(tensor)] = definition[0]  # last: another thread may look
        return definition[0]

    def reference(self, tensor: torch.Tensor) -> Reference:
        """The reference of an input: a known one, or that of one from outside.

        >>> from shapetrace.recording.clocks import NoClock
        >>> tape = Tape(NoClock(), functions=True, read_values=True)
        >>> x = torch.ones(2)
        >>> tape.reference(x) is tape.reference(x)
        True
        """
        known = self.lookup(tensor)
        if known is not None:
            return known
        with DISABLED():
            grad_fn = tensor.grad_fn
            if grad_fn is None:
                return self.define_as(tensor, _OUTSIDE[tensor.requires_grad])
            return self.define_as(tensor, Origin("unseen", grad_fn.name(), True))

    def define(self, tensor: torch.Tensor) -> Definition:
        """A new version of a tensor, which a call has made or changed."""
        with DISABLED():
            definition = describe(tensor)
        if not self.functions:
            self.forms[id(tensor)] = definition
        self.seen[id(tensor)] = definition[0]
        return definition

    def known(self) -> dict[int, Reference]:
        """`id(tensor)` to reference, of the tensors that were seen and still exist."""
        return {key: ref for key, ref in list(self.seen.items()) if ref() is not None}

    def forget_dead(self) -> dict[int, Reference]:
        """As `known`; the tensors that no longer exist are forgotten."""
        for key in [key for key, ref in list(self.seen.items()) if ref() is None]:
            del self.seen[key]
            self.forms.pop(key, None)
        return self.known()

    def read_range(self, tensor: Any) -> None:
        """Note the smallest and largest value of an integer tensor.

        On an accelerator the two numbers are read before the kernel is launched:
        afterwards a class index out of range would have ended the process's context.
        """
        if not self.read_values or not isinstance(tensor, torch.Tensor):
            return
        with DISABLED():
            if tensor.dtype in _INTEGERS and tensor.numel() and not tensor.is_meta:
                low, high = torch.aminmax(tensor.detach())
                one = self.reference(tensor)
                self.events += (VALUES, one, (int(low), int(high)))

    def read_failed(self, args: Any, kwargs: dict[str, Any]) -> None:
        """After a call raised: the range of its integer tensors may explain it."""
        values = [*args, *kwargs.values()]
        for value in args:
            if type(value) in (tuple, list):  # x[:, index]
                values += value
        for value in values:
            if isinstance(value, torch.Tensor) and value.device.type == "cpu":
                self.read_range(value)

    def place(self, frame: FrameType | None) -> tuple[CodeType | None, int]:
        """Code and instruction of the first user frame at or above `frame`; None
        where, in the tracing thread, the forward of the innermost open module, torch's
        own, comes first."""
        top = None
        if self.open_sites and ident() == self.thread:
            top = self.open_sites[-1].code
        while frame is not None:
            code = frame.f_code
            if not INTERNAL[code.co_filename]:
                return code, frame.f_lasti
            if code is top:
                break
            frame = frame.f_back
        return None, 0


def own_tensors(name: str, module: nn.Module) -> Iterator[tuple[torch.Tensor, Origin]]:
    own: list[tuple[Literal["parameter", "buffer"], dict[str, Any]]] = [
        ("parameter", module._parameters),
        ("buffer", module._buffers),
    ]
    for kind, tensors in own:
        for key, tensor in tensors.items():
            if tensor is not None and not is_lazy(tensor):
                full = f"{name}.{key}" if name else key
                yield tensor, Origin(kind, full, tensor.requires_grad)
