"""What the tracing thread waited for: a processor, and collectives."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from shapetrace.recording.collectives import Look, is_wait
from shapetrace.records import Blocked, InFlight, Waiting
from shapetrace.source.place import locate


class Waits:
    """Read while the events are; `stamps` are the moments, which may be before the
    first call, and `timed` takes their times."""

    def __init__(self) -> None:
        self.stamps: list[Any] = []
        self._waiting = array("Q")
        self._flights: list[tuple[int, int | None]] = []
        self._looks: list[Look] = []

    def for_processor(self, since: Any, until: Any, waited: int) -> None:
        self._waiting.extend((self._stamp(since), self._stamp(until), waited))

    def begun(self, function: int, done: list[Any]) -> None:
        """A collective is on its way from that function on."""
        over = self._stamp(done[0]) if done else None
        self._flights.append((function, over))

    def looked(self, looks: Iterable[Look]) -> None:
        """Where the thread may have stood in a `wait()`."""
        self._looks = [
            (code, lasti, self._stamp(since), self._stamp(until))
            for code, lasti, since, until in looks
        ]

    def _stamp(self, stamp: Any) -> int:
        self.stamps.append(stamp)
        return len(self.stamps) - 1

    def timed(self, times: Sequence[int], zero: int, end: int) -> None:
        """Put in the times of all stamps, and where the recording begins and ends."""
        waits = iter(self._waiting)
        self.waiting = tuple(
            Waiting(times[a] - zero, times[b] - zero, waited)
            for a, b, waited in zip(waits, waits, waits, strict=True)
        )
        self.in_flight = tuple(
            InFlight(function, (end if over is None else times[over]) - zero)
            for function, over in self._flights
        )
        called = {look[:2]: is_wait(*look[:2]) for look in self._looks}
        self.blocked = tuple(
            Blocked(locate(code, lasti), times[a] - zero, times[b] - zero)
            for code, lasti, a, b in self._looks
            # of those that were dropped nothing else is left either
            if called[code, lasti] and zero <= times[a] < times[b]
        )
