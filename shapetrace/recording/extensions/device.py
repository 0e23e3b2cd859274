"""The time that each module call takes on its accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import DeviceEvents
from shapetrace.recording.extensions.base import Cell, Extension, Tensors

Marks = dict[torch.device, Any]


class DeviceTimer(Extension):
    """Fills `device_ns`: from the call's entry to its end on the current stream of
    the device that its outputs lie on.

    The marks are set on the devices of the inputs and of the module's own tensors. A
    call that has neither there, such as a model that moves its input itself, begins
    with the first call inside it. Nothing waits for the device before the end.
    """

    def __init__(self, events: DeviceEvents) -> None:
        self._events = events
        self._starts: dict[Cell, Marks] = {}
        self._spans: list[tuple[Cell, torch.device, Any, Any]] = []
        #: calls that were made while no mark could be set
        self.unmarked = 0

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        parameters = torch_internals.parameters_of(module)
        own = (*parameters.values(), *torch_internals.buffers_of(module).values())
        devices = {one.device for one in (*inputs, *own) if one is not None}
        marks = {device: self._events.mark(device) for device in accelerators(devices)}
        if None in marks.values():
            self.unmarked += 1
        self._starts[cell] = marks
        above = cell.parent
        while above is not None:
            begun = self._starts.get(above, {})
            for device, mark in marks.items():
                begun.setdefault(device, mark)
            above = above.parent

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        marks = self._starts.pop(cell)
        for device in accelerators({one.device for one in outputs}):
            start, end = marks.get(device), self._events.mark(device)
            if start is not None and end is not None:
                self._spans.append((cell, device, start, end))
                break  # outputs on several devices: the time on the first

    def forget(self, cells: set[Cell]) -> None:
        self._spans = [span for span in self._spans if span[0] not in cells]

    def finish(self, cells: Sequence[Cell]) -> None:
        for device in {device for _, device, _, _ in self._spans}:
            self._events.synchronize(device)
        for cell, _, start, end in self._spans:
            cell.fields["device_ns"] = self._events.elapsed_ns(start, end)

    def release(self) -> None:
        self._spans.clear()
        self._starts.clear()


def accelerators(devices: set[torch.device]) -> list[torch.device]:
    """Those that are neither the processor nor no device at all."""
    found = [one for one in devices if one.type not in ("cpu", "meta")]
    return sorted(found, key=str)
