"""All that is read of a tensor beside its form: the range of class indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import VALUES
from shapetrace.recording.references import DISABLED

if TYPE_CHECKING:
    from shapetrace.recording.references import References

_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}


class Values:
    """Notes the smallest and largest value of integer tensors.

    On an accelerator the two numbers are read before the kernel is launched:
    afterwards a class index out of range would have ended the process's context.
    """

    def __init__(self, events: list[Any], references: References, read: bool) -> None:
        self._events = events
        self._references = references
        self._read = read
        #: the losses whose class indices are worth a look, and where each takes them
        self.by_index = _index_losses()

    def read_target(self, func: Any, args: Any, kwargs: dict[str, Any] | None) -> None:
        """Before a loss is called."""
        at = self.by_index[func]
        self._range(args[at] if len(args) > at else (kwargs or {}).get("target"))

    def read_failed(self, args: Any, kwargs: dict[str, Any]) -> None:
        """After a call raised: the range of its integer tensors may explain it."""
        values = [*args, *kwargs.values()]
        for value in args:
            if type(value) in (tuple, list):  # x[:, index]
                values += value
        for value in values:
            if _is_ordinary(value) and value.device.type == "cpu":
                self._range(value)

    def _range(self, tensor: Any) -> None:
        if not self._read or not _is_ordinary(tensor):
            return
        with DISABLED():
            if tensor.dtype in _INTEGERS and tensor.numel() and _readable(tensor):
                low, high = torch.aminmax(tensor.detach())
                one = self._references.reference(tensor)
                self._events += (VALUES, one, (int(low), int(high)))


def _index_losses() -> dict[Any, int]:
    from shapetrace.signatures.loss_facts import index_losses

    home = torch.nn.functional
    found = index_losses().items()
    return {getattr(home, name): at for name, at in found if hasattr(home, name)}


def _is_ordinary(value: Any) -> bool:
    """One of a class of the user's may say anything of itself, or raise."""
    return type(value) is torch.Tensor or type(value) is torch.nn.Parameter


def _readable(tensor: torch.Tensor) -> bool:
    """Whether the tensor has values, and nobody takes down the operations that read
    them: a dispatch mode, torch.func, torch.jit.trace, a CUDA graph, a profiler."""
    return (
        not tensor.is_meta
        and not torch_internals.count_dispatch_modes()
        and torch_internals.functorch_level() is None
        and torch_internals.jit_tracing() is None
        and not torch_internals.is_profiling()
        and not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
    )
