"""The time that each module call takes on its accelerator."""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from typing import Any, NamedTuple

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import DeviceEvents
from shapetrace.recording.extensions.base import Extension
from shapetrace.recording.extensions.cell import Cell, Tensors


class Mark(NamedTuple):
    """A mark on a device's time line, and for how long the device had waited for our
    hooks until then."""

    event: Any
    waited_ns: int


Marks = dict[torch.device, Mark]


class Hook:
    """One of ours that runs: since when, on which streams, and which of them had
    nothing to do then."""

    __slots__ = ("since", "streams", "idle")

    def __init__(
        self, since: int, streams: dict[torch.device, Any], idle: set[torch.device]
    ) -> None:
        self.since = since
        self.streams = streams
        self.idle = idle


class DeviceTimer(Extension):
    """Fills `device_ns`: from the call's entry to its end on the current stream of
    the device that its outputs lie on, without what the device waited for hooks; and
    `device_idle`, whether it had nothing left to do then.

    Small kernels are done before the next one is launched; then the device waits for
    the processor, and also for what records the calls (benchmarks/RESULTS.md). Whether
    it has run dry is asked where the hooks begin and where they end.

    The marks are set on the devices of the inputs and of the module's own tensors. A
    call that has neither there, such as a model that moves its input itself, begins
    with the first call inside it. Nothing waits for the device before the end.
    """

    edges = True
    name = "device times"

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
        if not self._hook_begins(accelerators_of((*inputs, *own))):
            self.unmarked += 1

    def begins(self, cell: Cell) -> None:
        self.hook_ends()
        hook = self._hooks[ident()]
        marks = {device: self._mark(device, hook) for device in hook.streams}
        self._starts[cell] = marks
        above = cell.parent
        while above is not None:
            begun = self._starts.get(above, {})
            for device, mark in marks.items():
                begun.setdefault(device, mark)
            above = above.parent

    def ended(self, cell: Cell) -> None:
        self._hook_begins([*self._starts.get(cell, {})])
        hook = self._hooks[ident()]
        if hook.streams:
            self._ends[cell] = {one: self._mark(one, hook) for one in hook.streams}
            cell.fields["device_idle"] = len(hook.idle) == len(hook.streams)

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        self._hook_begins(accelerators_of(outputs))

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        starts, ends = self._starts.pop(cell, {}), self._ends.pop(cell, {})
        for device in accelerators_of(outputs):
            if device in starts and device in ends:
                self._spans.append((cell, device, starts[device], ends[device]))
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

    def _mark(self, device: torch.device, hook: Hook) -> Mark:
        event = self._events.mark(hook.streams[device])
        return Mark(event, self._waited.get(device, 0))

    def _hook_begins(self, devices: Sequence[torch.device]) -> bool:
        """Whether marks may be set."""
        events, since = self._events, self._now()
        found = {device: events.stream(device) for device in devices}
        streams = {one: stream for one, stream in found.items() if stream is not None}
        idle = {one for one, stream in streams.items() if events.is_idle(stream)}
        self._hooks[ident()] = Hook(since, streams, idle)
        return len(streams) == len(found)

    def hook_ends(self) -> None:
        """What ran dry in the meantime is taken to have waited for half of it."""
        hook, now = self._hooks.get(ident()), self._now()
        if hook is None:
            return
        took, hook.since = now - hook.since, now  # it may go on
        for device, stream in hook.streams.items():
            idle = device in hook.idle
            if idle or self._events.is_idle(stream):
                waited = took if idle else took // 2
                self._waited[device] = self._waited.get(device, 0) + waited
                hook.idle.add(device)


class HookEnds(Extension):
    """The last of all extensions: what the others do is over, for the timer."""

    name = "device times"

    def __init__(self, timer: DeviceTimer) -> None:
        self._timer = timer

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        self._timer.hook_ends()

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        self._timer.hook_ends()


def accelerators_of(tensors: Iterable[torch.Tensor | None]) -> list[torch.device]:
    """Their devices that are neither the processor nor no device at all."""
    found: list[torch.device] = []
    for one in tensors:
        if one is not None and one.device not in found:
            found.append(one.device)
    if not found or len(found) == 1 and found[0].type == "cuda":
        return found
    return accelerators({*found})


def accelerators(devices: set[torch.device]) -> list[torch.device]:
    """Those that are neither the processor nor no device at all."""
    found = [one for one in devices if one.type not in ("cpu", "meta")]
    return sorted(found, key=str)
