"""The trace of a whole script."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from shapetrace.recording.clocks import CpuClock
from shapetrace.trace import Trace

#: module calls that are kept of a script of any length, the first ones and the newest.
#: The report of so many takes some seconds, and is some megabytes as JSON
MOST_CALLS = 8_000


class ScriptTrace(Trace):
    """A trace whose report explains every finding, so that none need be a warning."""

    @classmethod
    def of_script(
        cls,
        functions: bool = True,
        checks: bool = True,
        memory: bool = False,
        backward: bool = False,
        everything: bool = False,
    ) -> Self:
        """Of all modules that a script calls; of the first calls and the newest, with
        figures of those between, if not of `everything`."""
        return cls(
            (),
            CpuClock(),
            functions=functions,
            checks=checks,
            memory=memory,
            backward=backward,
            max_calls=None if everything else MOST_CALLS,
            keep_first=True,
        )

    def _say(self, error: BaseException | None) -> None:
        if error is not None:
            super()._say(error)

    def so_far(self, ended_in: str) -> Trace:
        """What was recorded until now, asked by another thread than that which runs."""
        plain = Trace.__new__(Trace)
        plain._restore(replace(self.recording, ended_in=ended_in), ())
        return plain

    def without_findings(self) -> Trace:
        """What was recorded, for who does not want to wait for what it means."""
        plain = Trace.__new__(Trace)
        plain._restore(self.recording, ())
        return plain
