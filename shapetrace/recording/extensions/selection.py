"""Which extensions a trace takes along, and what becomes of their figures.

Their files are imported where a trace asks for them: most do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shapetrace.recording.clocks import (
    Clock,
    CpuClock,
    NoClock,
    PausingClock,
    TorchEvents,
)
from shapetrace.recording.events import LIVE, NOTE
from shapetrace.recording.recorder import Recorder
from shapetrace.records import LeftOut

if TYPE_CHECKING:
    from shapetrace.recording.bounded.limit import CallLimit
    from shapetrace.recording.extensions.allocator import AllocatorWatch
    from shapetrace.recording.extensions.backward import BackwardTimer
    from shapetrace.recording.extensions.base import Extension, Extensions
    from shapetrace.recording.extensions.cell import Cell
    from shapetrace.recording.extensions.device import DeviceTimer
    from shapetrace.recording.extensions.memory import Held, MemoryWatch, Ran


class Selection:
    """The extensions that a trace's options ask for; `running` is None for none."""

    def __init__(
        self,
        roots: list[nn.Module],
        clock: Clock,
        *,
        functions: bool,
        timing: bool,
        memory: bool,
        backward: bool,
        max_calls: int | None,
        keep_first: bool = False,
    ) -> None:
        self._recorder: Recorder | None = None
        #: what the recorder takes its stamps from
        self.clock: Clock = clock
        self._max_calls = max_calls
        self._keep_first = keep_first
        #: bytes by the parameter's qualified name
        self.gradients: dict[str, int] = {}
        self.optimizer_state: dict[str, int] = {}
        self._limit: CallLimit | None = None
        self._memory: MemoryWatch | None = None
        self._backward: BackwardTimer | None = None
        self._allocator: AllocatorWatch | None = None
        self._device: DeviceTimer | None = None
        found: list[Extension] = []
        pausing = PausingClock(clock)
        if max_calls is not None:
            from shapetrace.recording.bounded import limit

            self._limit = limit.CallLimit(max_calls, pausing, keep_first=keep_first)
        if memory:
            from shapetrace.recording.extensions import memory as watching

            self._memory = watching.MemoryWatch(self._live, pausing)
            found.append(self._memory)
            if torch.accelerator.is_available() and _on_accelerator(roots):
                from shapetrace.recording.extensions import allocator

                self._allocator = allocator.AllocatorWatch(
                    allocator.TorchAllocator(), self._memory.known_bytes
                )
                found.append(self._allocator)
        if backward:
            from shapetrace.recording.extensions import backward as timing_backwards

            self._backward = timing_backwards.BackwardTimer(pausing)
            found.append(self._backward)
        if timing and torch.accelerator.is_available() and _on_accelerator(roots):
            from shapetrace.recording.extensions import device

            self._device = device.DeviceTimer(TorchEvents())
            found = [self._device, *found, device.HookEnds(self._device)]
        self.running = _extensions(found, pausing)
        self._pausing = pausing
        pauses = self.running is not None or self._limit is not None
        if pauses and not isinstance(clock, NoClock):
            self.clock = pausing
        #: where the recorder notes what happens
        self.events: list[Any] = [] if self._limit is None else self._limit.events

    def start(self, recorder: Recorder) -> None:
        self._recorder = recorder
        # what is waited for in a pause is in no recorded time
        self._pausing.before_pause = self._waited
        self._pausing.after_pause = recorder.run_queue.skip
        if self._limit is not None:
            self._limit.begin(recorder)
        if self.running is not None:
            self.running.emit = self._note

    def again(self) -> Extensions | None:
        """Extensions that are called as often and do nothing: what
        the others cost while they work, their clock has left out."""
        if self.running is None:
            return None
        from shapetrace.recording.extensions.base import Extension

        idle = Extension()
        idle.functions = self.running.functions or self.running.nodes
        return _extensions([idle], PausingClock(CpuClock()))

    def empty_events(self) -> list[Any]:
        """As those that the recorder fills, which look at what is added if they are
        bounded."""
        return [] if self._limit is None else self._limit.unbounded()

    def working(self) -> Extensions | None:
        """Extensions that do as these: what they leave of the processor's caches, no
        clock can leave out."""
        found: list[Extension] = []
        pausing = PausingClock(CpuClock())
        if self._memory is not None:
            from shapetrace.recording.extensions.memory import MemoryWatch

            found.append(MemoryWatch(lambda *held: None, pausing))
        if self._backward is not None:
            from shapetrace.recording.extensions import backward as timing_backwards

            found.append(timing_backwards.BackwardTimer(pausing))
        return _extensions(found, pausing)

    def finish(self) -> None:
        if self._memory is not None and self._recorder is not None:
            for name, parameter in self._recorder.table.tensors():
                key = id(parameter)
                if key in self._memory.gradients:
                    self.gradients[name] = self._memory.gradients[key]
                if key in self._memory.states:
                    self.optimizer_state[name] = self._memory.states[key]
        if self.running is not None:
            self.running.finish()

    def release(self) -> None:
        """Let go of everything. Safe to call again."""
        if self.running is not None:
            self.running.release()

    @property
    def dropped_calls(self) -> int:
        return 0 if self._limit is None else self._limit.dropped

    def left_out(self, gap: tuple[int, int, int] | None) -> LeftOut | None:
        """Figures of what lies between the first calls and the newest."""
        return None if self._limit is None else self._limit.left_out(gap)

    @property
    def allocated_peak(self) -> int | None:
        return self._allocator.highest if self._allocator else None

    @property
    def allocated_other(self) -> int:
        return self._allocator.other if self._allocator else 0

    def faults(self) -> list[tuple[str, BaseException]]:
        """The extensions that gave up, and why; so may the bound on calls."""
        found = [] if self._limit is None else list(self._limit.faults)
        return found if self.running is None else found + self.running.faults

    def notes(self, left_out: LeftOut | None) -> list[str]:
        """What a reader must know of the figures."""
        said = []
        if left_out is not None:
            said.append(
                f"A long run: its first {left_out.following:,} module calls and its "
                f"newest are here in full; of the {left_out.calls:,} between them only "
                "counts and times were kept"
            )
        elif self.dropped_calls:
            bound = "" if self._keep_first else f"max_calls={self._max_calls}: "
            said.append(
                f"{bound}the first {self.dropped_calls} module calls were dropped to "
                "bound the memory; the checks judge what was kept"
            )
        if self._device is not None and self._device.unmarked:
            said.append(
                f"{self._device.unmarked} calls were captured into a CUDA graph: they "
                "have no device time, and the graph's replays are not recorded"
            )
        for name, fault in self.faults():
            if isinstance(fault, torch.AcceleratorError):
                continue  # the user's: `Faults` says so
            said.append(
                f"{name} gave up ({type(fault).__name__}: {fault}): its figures are "
                "missing from there on"
            )
        return said

    def _waited(self, since: Any, until: Any) -> None:
        """Before a pause: what is in a backward is told apart by its nodes."""
        recorder = self._recorder
        if recorder is not None:
            waited_ns = recorder.waited(since, until)
            if waited_ns and self._backward is not None:
                self._backward.waited(until, waited_ns)

    def _note(self, cell: Cell, thread: int) -> None:
        recorder = self._recorder
        if recorder is not None:
            number = 0 if thread == recorder.stacks.thread else thread
            recorder.events += (NOTE, number, cell)

    def _live(self, held: Held, ran: Ran | None = None) -> None:
        recorder = self._recorder
        if recorder is not None:
            recorder.events += (LIVE, self.clock.now(), held, ran)


def _extensions(extensions: list[Extension], clock: PausingClock) -> Extensions | None:
    if not extensions:
        return None
    from shapetrace.recording.extensions.base import Extensions

    return Extensions(extensions, clock)


def _on_accelerator(roots: list[nn.Module]) -> bool:
    """Whether calls may run on one; without given modules, any may."""
    from shapetrace.recording.extensions.device import accelerators

    devices = {one.device for root in roots for one in root.parameters()}
    return not roots or bool(accelerators(devices))
