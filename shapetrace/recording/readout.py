"""What a trace has recorded so far, as records: built when asked, whole at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch

from shapetrace.recording import guards
from shapetrace.recording.clocks import NoClock
from shapetrace.recording.events import Failure
from shapetrace.recording.faults import may_pass
from shapetrace.recording.snapshot import SeenModule, see_modules
from shapetrace.records import Recording
from shapetrace.records.garbage import uncollected

if TYPE_CHECKING:
    from shapetrace.recording.extensions.selection import Selection
    from shapetrace.recording.recorder import Recorder
    from shapetrace.recording.script_values import ScriptValues
    from shapetrace.recording.versions import Versions


class Readout(Protocol):
    """Gives the recording of a trace that runs, has ended or was read from a file."""

    @property
    def recording(self) -> Recording:
        """All records, as far as the batch has got; the same object while it stands."""

    def calibrated(self) -> Recording:
        """The recording with what the tracer itself costs, where that is known."""

    def put(self, recording: Recording) -> None:
        """Give this one from now on."""

    def id_of(self, tensor: torch.Tensor) -> int | None:
        """The id of the newest version of a live tensor; None for an unknown one."""


class Stored:
    """A recording that is whole: one read back, or that of a trace not yet begun."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def calibrated(self) -> Recording:
        return self.recording

    def put(self, recording: Recording) -> None:
        self.recording = recording

    def id_of(self, tensor: torch.Tensor) -> int | None:
        return None


class Live:
    """The recording that a recorder's events make.

    Once `ended` is true no more events come. `seen` are the modules as they were then,
    `error` is what left the block, `ended_in` the collective that it came out of,
    `script` what names stood for in the code that it left; they stand before the
    recording is asked for.
    """

    def __init__(
        self,
        recorder: Recorder,
        selection: Selection,
        names: tuple[str, ...],
        *,
        functions: bool,
    ) -> None:
        self._recorder = recorder
        self.selection = selection
        self._names = names
        self._functions = functions
        self._timed = not isinstance(recorder.clock, NoClock)
        self.ended = False
        self.seen: list[SeenModule] = []
        self.error: Failure | None = None
        self.ended_in = ""
        self.script: ScriptValues | None = None
        self._versions: Versions | None = None
        self._recording: Recording | None = None
        self._events = 0  # as many had come when it was made
        self._whole = False
        self._calibrated = False

    @property
    def recording(self) -> Recording:
        try:
            return self._newest()
        except Exception as fault:
            # of any kind: what is ours costs the recording, and is told in a note
            faults = self._recorder.faults
            faults.add("all that was recorded", fault)
            nothing = Recording((), (), {}, {}, notes=tuple(faults.notes()))
            if not may_pass(fault):
                self._recording, self._whole = nothing, self.ended
            return nothing

    def _newest(self) -> Recording:
        if self._recording is not None and self._whole:
            return self._recording
        events = len(self._recorder.events) + self.selection.dropped_calls
        if self._recording is None or self.ended or self._events != events:
            self._recording = self._build()
            self._events, self._whole = events, self.ended
        return self._recording

    @uncollected()
    def _build(self) -> Recording:
        from shapetrace.recording.build import Replay

        recorder, selection, running = self._recorder, self.selection, not self.ended
        if running:
            recorder.values.settle()
            recorder.stacks.close(None)
        seen = (
            see_modules(recorder.table, recorder.references) if running else self.seen
        )
        replay = Replay(recorder, seen, self.error, running=running)
        self._versions = replay.versions
        notes = guards.notes(recorder, replay.calls, replay.functions, seen)
        left_out = selection.left_out(replay.gap)
        made = Recording(
            calls=replay.calls,
            functions=replay.functions,
            modules=replay.modules,
            origins=replay.versions.origins,
            roots=self._names,
            notes=(*notes, *selection.notes(left_out)),
            duration_ns=replay.duration_ns,
            before_ns=0 if recorder.table.everything else replay.before_ns,
            has_functions=self._functions,
            has_timing=self._timed,
            torch_version=torch.__version__,
            value_ranges=replay.values,
            error=replay.error,
            ranges=replay.ranges,
            live=replay.live,
            gradients=dict(selection.gradients),
            optimizer_state=dict(selection.optimizer_state),
            allocated_peak=selection.allocated_peak,
            allocated_other=selection.allocated_other,
            dropped_calls=selection.dropped_calls,
            left_out=left_out,
            unseen=replay.unseen,
            waiting=replay.waits.waiting,
            in_flight=replay.waits.in_flight,
            blocked=replay.waits.blocked,
            ended_in=self.ended_in,
        )
        from shapetrace.source.spoken import script_names

        with recorder.faults.losing("what the script calls its models"):
            made = replace(made, called=script_names(made))
        if self.script is not None:
            with recorder.faults.losing("what the script's names stood for"):
                made = replace(made, script=self.script.script(replay.versions.newest))
            self.script = None
        if self.ended:
            # the events have said what they had to say
            recorder.events.clear()
            replay.versions.forget(recorder.references.forget_dead().values())
        return made

    def calibrated(self) -> Recording:
        made = self.recording
        if not self.ended or not self._timed or self._calibrated:
            return made
        with self._recorder.faults.losing("what the tracer itself costs"):
            from shapetrace.recording.overhead import calibrate

            overhead = calibrate(
                self._functions,
                self.selection.again,
                self.selection.working,
                self.selection.empty_events,
            )
            self._recording = made = replace(made, overhead=overhead)
        self._calibrated = True
        return made

    def put(self, recording: Recording) -> None:
        self._recording = recording

    def id_of(self, tensor: torch.Tensor) -> int | None:
        _ = self.recording
        if self._versions is None:
            return None
        known = self._recorder.references.known()
        version = self._versions.newest(known.get(id(tensor)))
        return None if version is None else version.id
