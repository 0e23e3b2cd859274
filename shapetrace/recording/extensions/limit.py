"""`max_calls`: keep the newest calls of a long trace, and let go of the oldest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shapetrace.recording.events import DEFINE
from shapetrace.recording.extensions.base import Cell, Companion, Extension, Tensors
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.tensors import describe
from shapetrace.records import Origin


class CallLimit(Extension):
    """Drops whole calls of the outermost modules, the oldest first.

    The events are kept in two halves. When the newer one is full the older one goes,
    and what still lived where they meet is defined anew. So at least half of the
    limit is kept; at most the limit, and in each half the end of an outermost call.
    """

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self._count = 0
        self._older = 0
        self._cut = 0
        self._alive: list[Any] = []
        self._grad = True
        #: module calls that are gone
        self.dropped = 0
        self.recorder: Recorder | None = None
        self.companion: Companion | None = None

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        recorder = self.recorder
        if recorder is not None and cell.parent is None and not recorder.inside():
            if self._count >= self._half:
                self._turn(recorder)
        self._count += 1

    def _turn(self, recorder: Recorder) -> None:
        """The older half goes, the newer becomes the older."""
        if self._cut:
            recorder.events[: self._cut] = self._alive
            recorder.grad = self._grad
            if self.companion is not None:
                self.companion.drop(self._older)
            self.dropped += self._older
        self._older, self._count = self._count, 0
        self._alive = _definitions(recorder)
        self._grad = torch.is_grad_enabled()
        self._cut = len(recorder.events)


def _definitions(recorder: Recorder) -> list[Any]:
    """Events that define every known tensor which is still alive."""
    known = recorder.forget_dead()
    origins = {id(tensor): origin for tensor, origin in recorder.own_tensors()}
    events: list[Any] = []
    for key, reference in known.items():
        tensor = reference()
        if tensor is not None:
            origin = origins.get(key) or _origin(tensor)
            events += (DEFINE, reference, *describe(tensor)[1:], origin)
    return events


def _origin(tensor: torch.Tensor) -> Origin:
    """A call made it that is dropped, or it came from outside: no longer to be told."""
    name = tensor.grad_fn.name() if tensor.grad_fn is not None else ""
    return Origin("unseen", name, tensor.requires_grad)
