"""`trace` and `Trace`: the block that is recorded, and the report of it afterwards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, nullcontext, suppress
from types import TracebackType
from typing import Any, Literal, Self

from torch import nn

from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.recording import guards, torch_internals, tracebacks
from shapetrace.recording.clocks import Clock, CpuClock, NoClock
from shapetrace.recording.events import error_tuple
from shapetrace.recording.extensions.selection import Selection
from shapetrace.recording.faults import Faults
from shapetrace.recording.readout import Live, Stored
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import see_modules
from shapetrace.records import Diagnosis, Recording
from shapetrace.report.exports import Report


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
        max_calls: keep at most that many module calls, the newest ones, for long runs,
            and twenty times as many function calls; the report says what was dropped.

    Raises:
        UsageError: if something other than modules is given, or options that do not
            go together.

    Examples:
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


class Trace(Report):
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
        super().__init__(Stored(Recording((), (), {}, {})), checks, Faults())
        self._roots: list[nn.Module] = list(modules)
        self._memory = memory
        self._backward = backward
        self._max_calls = max_calls
        self._clock = clock
        self._functions = functions
        self._state: Literal["new", "running", "done"] = "new"
        self._recorder: Recorder | None = None
        self._hidden = guards.HiddenWarning()

    # -- the context manager ---------------------------------------------------

    def __enter__(self) -> Self:
        if self._state != "new":
            doing = "is running" if self._state == "running" else "has recorded already"
            raise UsageError(
                f"This trace {doing}: each `with` needs a trace of its own. Write "
                "`with shapetrace.trace(model) as t:` again."
            )
        try:
            with self._faults.losing("the whole recording"):
                self._install()
                return self
        except BaseException:
            self._take_off()
            raise
        # the batch runs all the same, and nothing of it is seen
        self._take_off()
        self._recorder, self._state = None, "running"
        notes = tuple(self._faults.notes())
        self._readout = Stored(Recording((), (), {}, {}, notes=notes))
        return self

    def _install(self) -> None:
        selection = Selection(
            self._roots,
            self._clock,
            functions=self._functions,
            timing=not isinstance(self._clock, NoClock),
            memory=self._memory,
            backward=self._backward,
            max_calls=self._max_calls,
        )
        recorder = self._recorder = Recorder(
            selection.clock,
            functions=self._functions,
            read_values=bool(self._checks),
            extensions=selection.running,
            faults=self._faults,
        )
        selection.start(recorder)
        named = guards.name_roots(self._roots)
        names = tuple(name for name, _ in named) or ("",)
        self._readout = Live(recorder, selection, names, functions=self._functions)
        guards.EAGERLY.start(self)
        self._hidden.start()
        recorder.install(named)
        self._roots = []
        self._state = "running"

    def _take_off(self) -> None:
        """Everything that the trace has put anywhere. Safe to call again."""
        with ExitStack() as everything:  # one that fails keeps no other from its turn
            everything.callback(self._surely, guards.EAGERLY.end, self)
            everything.callback(self._surely, self._hidden.end)
            if self._recorder is not None:
                everything.callback(self._surely, self._recorder.uninstall)

    def _surely(self, end: Callable[..., None], *args: Any) -> None:
        """Once more from the start where it was cut short, by Ctrl-C or a fault."""
        try:
            end(*args)
        except BaseException as cut:
            end(*args)
            if not isinstance(cut, Exception):
                raise
            self._faults.add("nothing of the report", cut)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> Literal[False]:
        try:
            self._take_off()
        except BaseException as cut:  # a Ctrl-C in the middle of it, or a fault
            self._take_off()
            if not isinstance(cut, Exception):
                raise
            self._faults.add("nothing of the report", cut)
        finally:
            self._state = "done"
        try:
            with self._faults.losing("the end of the recording"):
                self._finish(error)
        finally:
            with self._faults.losing("nothing of the report"):
                self._release()
        self._faults.over = True
        if self._faults:
            # where the user's filters make warnings errors, the body's own comes first
            with nullcontext() if error is None else suppress(ShapeTraceWarning):
                warnings.warn(self._faults.warning(), ShapeTraceWarning, stacklevel=2)
        return False

    def _release(self) -> None:
        """Let go of what is the user's."""
        if self._recorder is not None:
            self._recorder.release()
        if isinstance(self._readout, Live):
            self._readout.selection.release()

    def _finish(self, error: BaseException | None) -> None:
        """Ask what can be asked only now, and say what there is to say."""
        recorder, live, losing = self._recorder, self._readout, self._faults.losing
        if recorder is None or not isinstance(live, Live):
            return
        live.ended = True
        with losing("the ends of some calls"):
            recorder.stacks.close(error)
        with losing("figures of memory and backward"):
            live.selection.finish()
        for name, fault in live.selection.faults():
            self._faults.add(name, fault)
        with losing("what the modules were"):
            live.seen = see_modules(recorder)
        if error is not None:
            with losing("the exception"):
                live.error = error_tuple(error)
                tracebacks.clean(error)
        with losing("the note on the exception" if error else "the warnings"):
            self._say(error)

    def _say(self, error: BaseException | None) -> None:
        """The explanation on the user's exception; warnings where none was raised."""
        if error is not None:
            failure = self.failure
            rank, others = self._deliver(error)
            if failure is not None or others:
                told = "\n\n".join(str(part) for part in (failure, others) if part)
                # not every exception takes notes; t.explain() has it all the same
                with suppress(Exception):
                    if isinstance(error, Exception):
                        error.add_note(f"\nshapetrace{rank}:\n{told}")
            return
        if self._checks and guards.has_loss(self._recorder):
            from shapetrace.checks import warn

            # a failure that the user's code caught is no news to it
            warn(finding for finding in self.findings if finding.code != "failure")

    def _deliver(self, error: BaseException) -> tuple[str, str]:
        """Where this is one of several ranks, let the others know that it failed."""
        if not torch_internals.has_ranks() or isinstance(error, GeneratorExit):
            return "", ""
        from shapetrace.comparison.rank_exchange import deliver

        with self._faults.losing("what other ranks are told"):
            return deliver(self.recording, self.findings, error)
        return "", ""

    # -- as a value ------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self.recording == other.recording and self.findings == other.findings

    __hash__ = object.__hash__

    def __getstate__(self) -> dict[str, Any]:
        return {"recording": self.recording, "findings": tuple(self.findings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(state["recording"], state["findings"])

    def _restore(self, recording: Recording, findings: tuple[Diagnosis, ...]) -> None:
        Trace.__init__(self, (), NoClock())
        self._state = "done"
        self._faults.over = True
        self._readout = Stored(recording)
        self._analyses.keep(findings)


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that `Trace.to_json` wrote; it is equal to the one written.

    Raises:
        ReportError: if the file is missing, damaged or something else.
    """
    from shapetrace.views.json import load_file

    loaded = Trace.__new__(Trace)
    loaded._restore(*load_file(path))
    return loaded
