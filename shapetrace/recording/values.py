"""All that is read of a tensor beside its form: the range of indices."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.events import VALUES
from shapetrace.recording.references import DISABLED

if TYPE_CHECKING:
    from shapetrace.recording.references import References

_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}


#: of CUDA: there an index out of range ends the process's use of the device, and
#: comes up in a later call
_LOOKUPS = {F.embedding: 0, F.embedding_bag: 0}
_NOT_THERE = torch.iinfo(torch.int64).min
#: as many pairs of numbers are made room for at once
_ROOM = 64
#: memory of the processor's that a GPU may write to, for the life of the process. That
#: of `pin_memory=True` ends it where the GPU's context is broken: to let go of such
#: memory raises then
_PINNED: list[torch.Tensor] = []
_FREE: list[torch.Tensor] = []


class Values:
    """Notes the smallest and largest value of integer tensors.

    Nothing waits for a GPU: the two numbers are copied in the background, before the
    kernel that they may break, into memory of the processor's that outlives the device.
    """

    def __init__(self, events: list[Any], references: References, read: bool) -> None:
        self._events = events
        self._references = references
        self._read = read
        #: the functions whose indices are worth a look, and where each takes them
        self.by_index = {**_index_losses(), **_LOOKUPS}
        self._coming: list[tuple[torch.Tensor, list[int], torch.device]] = []

    def read_target(self, func: Any, args: Any, kwargs: dict[str, Any] | None) -> None:
        """Before a loss is called, or on CUDA a lookup."""
        at, named = self.by_index[func], kwargs or {}
        if func not in _LOOKUPS:
            self._range(args[at] if len(args) > at else named.get("target"))
            return
        tensor: Any = args[at] if len(args) > at else named.get("input")
        if _is_ordinary(tensor) and tensor.is_cuda:
            self._range(tensor)

    def read_failed(self, args: Any, kwargs: dict[str, Any]) -> None:
        """After a call raised: the range of its integer tensors may explain it."""
        values = [*args, *kwargs.values()]
        for value in args:
            if type(value) in (tuple, list):  # x[:, index]
                values += value
        for value in values:
            if _is_ordinary(value) and value.device.type == "cpu":
                self._range(value)

    def settle(self) -> None:
        """What was copied in the background is there from now on."""
        coming, self._coming = self._coming, []
        for device in {device for _, _, device in coming}:
            with suppress(torch.AcceleratorError):  # the user's kernel broke it
                torch.accelerator.synchronize(device)
        for pair, span, _ in coming:
            numbers = pair.tolist()
            if _NOT_THERE not in numbers:
                span[:] = numbers
                _FREE.append(pair)

    def _range(self, tensor: Any) -> None:
        if not self._read or not _is_ordinary(tensor):
            return
        with DISABLED():
            if tensor.dtype in _INTEGERS and tensor.numel() and _readable(tensor):
                one, span = self._references.reference(tensor), list[int]()
                pair = torch.stack(torch.aminmax(tensor.detach()))
                if not tensor.is_cuda:
                    span += pair.tolist()
                elif (place := _place()) is not None:
                    place.copy_(pair, non_blocking=True)
                    self._coming.append((place, span, pair.device))
                self._events += (VALUES, one, span)


def _place() -> torch.Tensor | None:
    """Where a GPU may write a pair of numbers to; None where it may not."""
    if not _FREE:
        room = torch.empty(_ROOM, 2, dtype=torch.int64, device="cpu")
        cuda: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        error = cuda.cudaHostRegister(room.data_ptr(), room.nbytes, 0)
        if error != cuda.cudaError.success:
            return None
        _PINNED.append(room)
        _FREE.extend(room.unbind())
    return _FREE.pop().fill_(_NOT_THERE)


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
