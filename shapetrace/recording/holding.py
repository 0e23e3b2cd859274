"""What was held over time, and in which backward functions' nodes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shapetrace.records import FunctionCall, LiveBytes

if TYPE_CHECKING:
    from shapetrace.recording.extensions.memory import Held, Ran

#: a stamp among all by its number, bytes, the module call; where a node of a backward
#: ran, when it was made, as a stamp, and its name
_Note = tuple[int, "Held", int | None, tuple[int, str] | None]


class Holding:
    """Of one recording; `stamp` keeps a stamp and gives its number."""

    def __init__(self, stamp: Callable[[Any], int]) -> None:
        self._stamp = stamp
        self._notes: list[_Note] = []

    def note(self, stamp: Any, held: Held, ran: Ran | None, call: int | None) -> None:
        at = self._stamp(stamp)
        node = None if ran is None else (self._stamp(ran[0]), ran[1])
        self._notes.append((at, held, call, node))

    def timed(
        self, times: Sequence[int], zero: int, functions: Sequence[FunctionCall]
    ) -> tuple[LiveBytes, ...]:
        """A node is of the function that ended last when it was found."""
        ends = [one.start_ns + one.duration_ns for one in functions]
        found = []
        for at, held, call, node in self._notes:
            function, name = None, ""
            if node is not None:
                before = bisect_right(ends, times[node[0]] - zero)
                if before and ends[-1] > ends[0]:  # else nothing was timed
                    function, name = before - 1, node[1]
            found.append(LiveBytes(times[at] - zero, *held, call, function, name))
        return tuple(found)
