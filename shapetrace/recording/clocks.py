"""Time stamps: what the recorder calls, and how stamps become nanoseconds later.

A stamp is whatever `now()` returns. The recorder stores it unread, so that a clock
may hand out accelerator events which are only resolved after the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Protocol

import torch

from shapetrace.recording.run_queue import LONG


class Clock(Protocol):
    """`now()` is called twice a recorded call; `resolve` once, when the trace ends."""

    @property
    def now(self) -> Callable[[], Any]: ...

    def resolve(self, stamps: Sequence[Any]) -> list[int]:
        """The stamps as nanoseconds on one axis, in the same order."""
        ...


class CpuClock:
    """The processor's monotonic clock."""

    now = staticmethod(perf_counter_ns)

    def resolve(self, stamps: Sequence[Any]) -> list[int]:
        return list(stamps)


class PausingClock:
    """Another clock that stands still while the tracer's own extensions work.

    Pauses do not nest: who is given False by `pause` works inside somebody's pause.
    """

    def __init__(self, clock: Clock) -> None:
        read, lost, since = clock.now, 0, None
        went_on = read()
        #: called before a pause with the stamps of what went before it, and after one
        #: with how long it was: of what took so long that the thread may have waited
        self.before_pause: Callable[[Any, Any], object] = max
        self.after_pause: Callable[[Any], object] = bool

        # variables of this call are found in half the time that attributes take
        def now() -> Any:
            return (read() if since is None else since) - lost

        def pause() -> bool:
            nonlocal since
            if since is not None:
                return False
            since = read()
            if since - went_on > LONG:
                self.before_pause(went_on - lost, since - lost)
            return True

        def go_on() -> None:
            nonlocal lost, since, went_on
            went_on = read()
            took = went_on - since
            lost += took
            since = None
            if took > LONG:
                self.after_pause(took)

        self.now, self.pause, self.go_on = now, pause, go_on
        self._resolve = clock.resolve

    def resolve(self, stamps: Sequence[Any]) -> list[int]:
        return self._resolve(stamps)


class NoClock:
    """For `timing=False`: every stamp is 0, at the price of a call to `int`."""

    now = int

    def resolve(self, stamps: Sequence[Any]) -> list[int]:
        return [0] * len(stamps)


class DeviceEvents(Protocol):
    """Marks on an accelerator's own time line, read only after one `synchronize`."""

    def stream(self, device: torch.device) -> Any:
        """The device's current stream; None where no mark may be set on it."""
        ...

    def mark(self, stream: Any) -> Any: ...

    def is_idle(self, stream: Any) -> bool:
        """Whether all that was queued on a stream is done."""
        ...

    def elapsed_ns(self, start: Any, end: Any) -> int: ...

    def synchronize(self, device: torch.device) -> None: ...


class TorchEvents:
    """`torch.Event`s of whatever accelerator this torch has.

    While a CUDA graph is captured no mark is set: its kernels run later, when the
    graph is replayed, and then no Python code of the modules runs.
    """

    def stream(self, device: torch.device) -> Any:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        return torch.accelerator.current_stream(device)

    def mark(self, stream: Any) -> Any:
        event = torch.Event(device=stream.device, enable_timing=True)
        event.record(stream)
        return event

    def is_idle(self, stream: Any) -> bool:
        idle: bool = stream.query()
        return idle

    def elapsed_ns(self, start: Any, end: Any) -> int:
        milliseconds: float = start.elapsed_time(end)
        return round(milliseconds * 1e6)

    def synchronize(self, device: torch.device) -> None:
        torch.accelerator.synchronize(device)
