"""`trace` and `Trace`: the context manager, and the facade over what it recorded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import nn

from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.recording import guards
from shapetrace.recording.clocks import Clock, CpuClock, NoClock
from shapetrace.recording.events import Failure, error_tuple
from shapetrace.recording.extensions.selection import Extras
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import SeenModule, see_modules
from shapetrace.records import (
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Recording,
    Step,
)
from shapetrace.reports import Reports

if TYPE_CHECKING:
    from shapetrace.recording.build import Replay


def trace(
    *modules: nn.Module,
    functions: bool = True,
    timing: bool = True,
    memory: bool = False,
    backward: bool = False,
    checks: bool | Collection[str] = True,
    max_calls: int | None = None,
) -> Trace:
    """Record every module call and torch function call of the `with` block.

    Args:
        modules: what to trace: one module or several, each with everything below it;
            none: every module that is called. With one, calls carry the names of
            `named_modules()`, `""` being the module itself; with several or none,
            names begin with the class's name.
        functions: record torch functions too. False: module calls alone, which costs
            less and leaves lineage to go from module to module.
        timing: take times. False: all times are 0.
        memory: keep account of the bytes of activations.
        backward: time the backward pass of each module.
        checks: look for what PyTorch does not tell; False: none; a set of codes: those.
            With False no tensor's values are read either; otherwise the smallest and
            largest class index of a loss's target are.
        max_calls: keep about that many module calls, the newest ones, for long runs;
            whole calls of the outermost modules are dropped, and the report says so.

    Raises:
        UsageError: if something other than modules is given, or options that do not
            go together.

    Example:
        >>> import torch, shapetrace
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with shapetrace.trace(model) as t:
        ...     y = model(torch.ones(2, 4))
        >>> [(call.name, call.type, call.outputs[0].shape) for call in t.calls]
        [('', 'Sequential', (2, 3)), ('0', 'Linear', (2, 3)), ('1', 'ReLU', (2, 3))]
    """
    if not isinstance(checks, bool):
        from shapetrace.checks import chosen

        chosen(checks)
    guards.check_modules(modules)
    guards.check_options(timing, memory, backward, max_calls)
    clock: Clock = CpuClock() if timing else NoClock()
    return Trace(
        modules,
        clock,
        functions=functions,
        memory=memory,
        backward=backward,
        checks=checks,
        max_calls=max_calls,
    )


class Trace(Reports):
    """What one traced batch did: read it during or after the `with` block.

    Made by `trace`, used once. It holds plain data only: no tensor and no module
    is kept alive, and it can be pickled.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        clock: Clock,
        *,
        functions: bool = True,
        memory: bool = False,
        backward: bool = False,
        checks: bool | Collection[str] = True,
        max_calls: int | None = None,
    ) -> None:
        self._roots: list[nn.Module] = list(modules)
        self._given = bool(self._roots)
        self._memory = memory
        self._backward = backward
        self._max_calls = max_calls
        self._calibrated = False
        self._extras: Extras | None = None
        self._clock = clock
        self._functions = functions
        self._checks = checks
        self._state: Literal["new", "running", "done"] = "new"
        self._recorder: Recorder | None = None
        self._seen: list[SeenModule] = []
        self._error: Failure | None = None
        self._notes: list[str] = []
        self._names: tuple[str, ...] = ()
        self._replay: Replay | None = None
        self._replayed = -1
        self._complete = False
        self._recording: Recording | None = None
        self._analysed: dict[str, Any] = {}
        self._release = ExitStack()

    # -- the context manager ---------------------------------------------------

    def __enter__(self) -> Self:
        if self._state != "new":
            doing = "is running" if self._state == "running" else "has recorded already"
            raise UsageError(
                f"This trace {doing}: each `with` needs a trace of its own. Write "
                "`with shapetrace.trace(model) as t:` again."
            )
        extras = Extras(
            self._roots,
            self._clock,
            timing=not isinstance(self._clock, NoClock),
            memory=self._memory,
            backward=self._backward,
            max_calls=self._max_calls,
        )
        recorder = Recorder(
            self._clock,
            functions=self._functions,
            read_values=bool(self._checks),
            companion=extras.companion,
        )
        extras.start(recorder)
        named = guards.name_roots(self._roots)
        self._names = tuple(name for name, _ in named) or ("",)
        try:
            if guards.compiled(self._roots):
                # compiled code calls no modules and no modes; the stance leaves with
                # the context, and the compiled code is used again as it is
                self._release.callback(guards.run_eagerly())
                if self._given:
                    self._notes.append(guards.RAN_EAGERLY)
            if recorder.has_mode and guards.has_fast_path(self._roots):
                self._notes.append(guards.LEFT_FAST_PATH)
            self._release.callback(extras.finish)
            recorder.install(named)
            self._release.callback(recorder.uninstall)
        except BaseException:
            self._release.close()
            raise
        self._recorder = recorder
        self._extras = extras
        self._roots = []
        self._state = "running"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> Literal[False]:
        recorder = self._recorder
        assert recorder is not None
        try:
            self._release.close()
        finally:
            self._state = "done"
        try:
            self._seen = see_modules(recorder)
            if not self._given and guards.compiled(list(recorder.modules.values())):
                self._notes.append(guards.RAN_EAGERLY)
            if error is not None:
                self._error = error_tuple(error)
            self._say(error)
        except ShapeTraceWarning:
            raise  # the user's filters make warnings errors; the body has not raised
        except Exception as fault:  # ours must not replace the user's exception
            recorder.fault(fault)
        finally:
            recorder.release()
        if recorder.faults:
            # where the user's filters make warnings errors, the body's own comes first
            with nullcontext() if error is None else suppress(ShapeTraceWarning):
                warnings.warn(
                    f"shapetrace failed {len(recorder.faults)} times while recording, "
                    f"first with {recorder.faults[0]}. The batch is unharmed; the "
                    "trace may lack calls.",
                    ShapeTraceWarning,
                    stacklevel=2,
                )
        return False

    def _say(self, error: BaseException | None) -> None:
        """The explanation on the user's exception; warnings where none was raised."""
        if isinstance(error, Exception):
            failure = self.failure
            if failure is not None:
                # not every exception takes notes; t.explain() has it all the same
                with suppress(Exception):
                    error.add_note(f"\nshapetrace:\n{failure}")
            return
        if error is None and self._checks and guards.has_loss(self._recorder):
            from shapetrace.checks import warn

            # a failure that the user's code caught is no news to it
            warn(finding for finding in self.findings if finding.code != "failure")

    # -- the data --------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """All records as one plain value, as far as the batch has got."""
        recorder = self._recorder
        if self._complete and self._recording is not None:
            return self._recording
        if recorder is None:
            return Recording((), (), {}, {})
        from shapetrace.recording.build import Replay

        grown = len(recorder.events)
        if self._extras is not None:
            grown += self._extras.dropped_calls
        if self._recording is None or self._replayed != grown:
            self._replayed = grown
            running = self._state == "running"
            seen = see_modules(recorder) if running else self._seen
            replay = self._replay = Replay(recorder, seen, self._error, running=running)
            notes = list(self._notes)
            if recorder.faults:
                notes.append(f"{len(recorder.faults)} events could not be recorded")
            extras = self._extras
            notes += extras.notes() if extras else []
            self._recording = Recording(
                calls=replay.calls,
                functions=replay.functions,
                modules=replay.modules,
                origins=replay.origins,
                roots=self._names,
                notes=tuple(notes),
                duration_ns=replay.duration_ns,
                has_functions=self._functions,
                has_timing=not isinstance(self._clock, NoClock),
                torch_version=torch.__version__,
                value_ranges=replay.values,
                error=replay.error,
                live=replay.live,
                allocated_peak=extras.allocated_peak if extras else None,
                dropped_calls=extras.dropped_calls if extras else 0,
            )
            self._analysed = {}
            if self._state == "done":
                # the events have said what they had to say
                recorder.events.clear()
                replay.forget(recorder.forget_dead().values())
                self._complete = True
        return self._recording

    @property
    def calls(self) -> tuple[ModuleCall, ...]:
        """Every module call, in the order in which they were entered."""
        return self.recording.calls

    @property
    def functions(self) -> tuple[FunctionCall, ...]:
        """Every torch function that Python code called, in the order of their ends."""
        return self.recording.functions

    def _calibrate(self) -> None:
        """Measure the tracer's own cost, once, when a figure needs it."""
        rec = self.recording
        if self._recorder is None or self._state != "done" or not rec.has_timing:
            return
        if not self._calibrated:
            from shapetrace.recording.overhead import calibrate

            self._calibrated = True
            again = self._extras.again if self._extras else lambda: None
            overhead = calibrate(self._functions, again)
            self._recording = replace(rec, overhead=overhead)

    # -- questions -------------------------------------------------------------

    def lineage(self, tensor: Any, dim: int | None = None) -> tuple[Step, ...]:
        """The calls that made a tensor, or one dimension of it, newest first.

        Raises:
            UsageError: if the tensor was not seen in this trace, or has no such `dim`.

        Example:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     y = layer(torch.ones(2, 4)).T
            >>> [step.name for step in t.lineage(y, dim=0)]
            ['T', 'Linear']
        """
        from shapetrace.lineage import steps

        ident = self._id(tensor, "lineage")
        rank = len(self._graph.tensors[ident].shape)
        if dim is not None and not -rank <= dim < rank:
            raise UsageError(
                f"lineage(tensor, dim={dim}): the tensor has {rank} dimensions; "
                f"dim must lie between {-rank} and {rank - 1}."
            )
        return steps(self._graph, ident, dim if dim is None else dim % rank)

    def expect(self, tensor: torch.Tensor, shape: str) -> None:
        """Assert a shape, in a jaxtyping-like string: names and numbers.

        A number must be equal; a name stands for any size, the same one wherever it
        recurs in this trace; `*name` for any number of dimensions, `_` and `...` for
        anything.

        Raises:
            ShapeError: on a mismatch; its message is the explanation.
            UsageError: if the string cannot be read.

        Example:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     t.expect(layer(torch.ones(2, 4)), "batch 3")
        """
        from shapetrace.diagnosis.expectation import check

        sizes = self.__dict__.setdefault("_sizes", {})
        check(self._graph, self._id(tensor, "expect"), shape, sizes)

    def _id(self, tensor: Any, asked: str) -> int:
        if not isinstance(tensor, torch.Tensor):
            raise UsageError(
                f"{asked}() takes a tensor of the traced batch, not "
                f"{type(tensor).__name__}: pass the output itself, for example "
                f"t.{asked}(logits)."
            )
        recorder = self._recorder
        _ = self.recording
        version = None
        if recorder is not None and self._replay is not None:
            version = self._replay.version(recorder.known().get(id(tensor)))
        if version is None:
            raise UsageError(
                f"{asked}() was given a tensor that this trace has not seen: it must "
                "have gone through a traced call inside the `with` block, and still be "
                "the same object."
            )
        return version.id

    # -- as a value ------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self.recording == other.recording and self.findings == other.findings

    __hash__ = object.__hash__

    def __getstate__(self) -> dict[str, Any]:
        return {"recording": self.recording, "findings": self.findings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(state["recording"], state["findings"])

    def _restore(self, recording: Recording, findings: tuple[Diagnosis, ...]) -> None:
        Trace.__init__(self, (), NoClock())
        self._state = "done"
        self._complete = True
        self._recording = recording
        failures = [f for f in findings if f.code == "failure"]
        self._analysed = {
            "findings": findings,
            "failure": failures[0] if failures else None,
        }


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that `Trace.to_json` wrote; it is equal to the one written.

    Raises:
        ReportError: if the file is missing, damaged or something else.
    """
    from shapetrace.views.json import load_file

    loaded = Trace.__new__(Trace)
    loaded._restore(*load_file(path))
    return loaded
