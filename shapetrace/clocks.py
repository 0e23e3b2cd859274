"""Time stamps: what the recorder calls, and how stamps become nanoseconds later.

A stamp is whatever `now()` returns. The recorder stores it unread, so that a clock
may hand out accelerator events which are only resolved after the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any, Protocol


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


class NoClock:
    """For `timing=False`: every stamp is 0, at the price of a call to `int`."""

    now = int

    def resolve(self, stamps: Sequence[Any]) -> list[int]:
        return [0] * len(stamps)
