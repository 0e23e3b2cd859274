"""The time that each module call takes on its accelerator."""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, NamedTuple

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import DeviceEvents
from shapetrace.recording.extensions.base import Extension, Node
from shapetrace.recording.extensions.cell import Cell, Tensors


class Mark(NamedTuple):
    """A mark on a device's time line, None where none may be set; and for how long the
    device had waited for our hooks until then."""

    event: Any
    waited_ns: int


Marks = dict[torch.device, Mark]


class Hook(NamedTuple):
    """One of ours that runs: since when, and which devices had nothing to do then."""

    since: int
    idle: dict[torch.device, bool]


class DeviceTimer(Extension):
    """Fills `device_ns`: from the call's entry to its end on the current stream of
    the device that its outputs lie on, without what the device waited for hooks.

    Small kernels are done before the next one is launched; then the device waits for
    the processor, and also for what records the calls: of a ResNet-50 on an H100 that
    was 24 of 39 ms (benchmarks/RESULTS.md). Whether it has run dry is asked where the
    hooks begin and where they end.

    The marks are set on the devices of the inputs and of the module's own tensors. A
    call that has neither there, such as a model that moves its input itself, begins
    with the first call inside it. Nothing waits for the device before the end.
    """

    edges = True

    def __init__(
        self, events: DeviceEvents, now: Callable[[], int] = perf_counter_ns
    ) -> None:
        self._events = events
        self._now = now
        self._starts: dict[Cell, Marks] = {}
        self._ends: dict[Cell, Marks] = {}
        self._spans: list[tuple[Cell, torch.device, Mark, Mark]] = []
        self._waited: dict[torch.device, int] = {}
        #: by thread
        self._hooks: dict[int, Hook] = {}
        #: calls that were made while no mark could be set
        self.unmarked = 0

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        parameters = torch_internals.parameters_of(module)
        own = (*parameters.values(), *torch_internals.buffers_of(module).values())
        devices = {one.device for one in (*inputs, *own) if one is not None}
        self._hook_begins(accelerators(devices))

    def begins(self, cell: Cell) -> None:
        self.hook_ends()
        hook = self._hooks.get(ident())
        marks = {device: self._mark(device) for device in hook.idle} if hook else {}
        if any(mark.event is None for mark in marks.values()):
            self.unmarked += 1
        self._starts[cell] = marks
        above = cell.parent
        while above is not None:
            begun = self._starts.get(above, {})
            for device, mark in marks.items():
                begun.setdefault(device, mark)
            above = above.parent

    def ended(self, cell: Cell) -> None:
        devices = accelerators({*self._starts.get(cell, {})})
        self._hook_begins(devices)
        self._ends[cell] = {device: self._mark(device) for device in devices}

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        self._hook_begins(accelerators({one.device for one in outputs}))

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        starts, ends = self._starts.pop(cell, {}), self._ends.pop(cell, {})
        for device in accelerators({one.device for one in outputs}):
            start, end = starts.get(device), ends.get(device)
            if start is None or end is None:
                continue
            if start.event is not None and end.event is not None:
                self._spans.append((cell, device, start, end))
                break  # outputs on several devices: the time on the first

    def forget(self, cells: set[Cell]) -> None:
        self._spans = [span for span in self._spans if span[0] not in cells]

    def finish(self, cells: Sequence[Cell]) -> None:
        for device in {device for _, device, _, _ in self._spans}:
            self._events.synchronize(device)
        for cell, _, start, end in self._spans:
            took = self._events.elapsed_ns(start.event, end.event)
            waited = end.waited_ns - start.waited_ns
            cell.fields["device_ns"] = max(0, took - waited)

    def release(self) -> None:
        self._spans.clear()
        self._starts.clear()
        self._ends.clear()

    def _mark(self, device: torch.device) -> Mark:
        return Mark(self._events.mark(device), self._waited.get(device, 0))

    def _hook_begins(self, devices: Sequence[torch.device]) -> None:
        idle = {device: self._events.is_idle(device) for device in devices}
        self._hooks[ident()] = Hook(self._now(), idle)

    def hook_ends(self) -> None:
        """What ran dry in the meantime is taken to have waited for half of it."""
        hook, now = self._hooks.get(ident()), self._now()
        if hook is None:
            return
        took = now - hook.since
        for device, idle in hook.idle.items():
            if idle or self._events.is_idle(device):
                waited = took if idle else took // 2
                self._waited[device] = self._waited.get(device, 0) + waited
                hook.idle[device] = True
        self._hooks[ident()] = Hook(now, hook.idle)  # it may go on


class HookEnds(Extension):
    """The last of all extensions: what the others do is over, for the timer."""

    def __init__(self, timer: DeviceTimer) -> None:
        self._timer = timer

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        self._timer.hook_ends()

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        self._timer.hook_ends()

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        self._timer.hook_ends()


def accelerators(devices: set[torch.device]) -> list[torch.device]:
    """Those that are neither the processor nor no device at all."""
    found = [one for one in devices if one.type not in ("cpu", "meta")]
    return sorted(found, key=str)
