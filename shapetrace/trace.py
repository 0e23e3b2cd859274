"""`trace` and `Trace`: the block that is recorded, and the report of it afterwards."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterable
from contextlib import nullcontext, suppress
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from torch import nn

from shapetrace.errors import ShapeTraceError, ShapeTraceWarning, UsageError
from shapetrace.recording import guards
from shapetrace.recording.clocks import Clock, CpuClock, NoClock
from shapetrace.recording.faults import is_meant
from shapetrace.recording.readout import Live, Stored
from shapetrace.recording.session import Session
from shapetrace.records import Diagnosis, Recording
from shapetrace.report.exports import Report
from shapetrace.report.surviving import surviving

#: what is lost where nothing could be recorded
_EVERYTHING = "the whole recording"


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
    try:
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
    except ShapeTraceError:  # meant for the user
        raise
    except Exception as fault:  # ours must not keep the batch from running
        untraced = Trace((), NoClock())
        untraced._faults.add(_EVERYTHING, fault)
        return untraced


class Trace(Report):
    """What one traced batch did: read it during or after the `with` block.

    Made by `trace`, used once. It holds plain data only: no tensor and no module
    is kept alive, and it can be pickled.
    """

    #: what the reader of a warning types to see the finding of a number in full, where
    #: it is not in a variable of the script's
    _ask: str | None = None
    #: the variable in which it is, where its `with` does not tell
    _kept_as: str | None = None

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
        keep_first: bool = False,
    ) -> None:
        self._session = Session(
            modules,
            clock,
            functions=functions,
            memory=memory,
            backward=backward,
            read_values=bool(checks),
            max_calls=max_calls,
            keep_first=keep_first,
        )
        self._state: Literal["new", "running", "done"] = "new"
        nothing = Stored(Recording((), (), {}, {}))
        super().__init__(nothing, checks, self._session.faults)
        self._entered_at: tuple[str, int] | None = None

    # -- the context manager ---------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._begin(sys._getframe(1))
            return self
        except ShapeTraceError:  # meant for the user
            raise
        except BaseException as fault:  # Ctrl-C too leaves no hook behind
            self._session.leave()
            if not isinstance(fault, Exception):
                raise
            with self._faults.losing(_EVERYTHING):  # a second fault in the noting
                self._faults.add(_EVERYTHING, fault)
                self._see_nothing()
            self._state = "running"
        return self

    def _begin(self, caller: FrameType) -> None:
        if self._state != "new":
            doing = "is running" if self._state == "running" else "has recorded already"
            raise UsageError(
                f"This trace {doing}: each `with` needs a trace of its own. Write "
                "`with shapetrace.trace(model) as t:` again."
            )
        self._entered_at = caller.f_code.co_filename, caller.f_lineno
        if self._faults:  # it could not be made as it was asked for
            self._see_nothing()
            return
        readout = self._session.start()
        if not isinstance(readout, Live):
            raise TypeError(f"{type(readout).__name__} is no recording")
        self._readout = readout
        self._state = "running"

    def _see_nothing(self) -> None:
        """The batch runs all the same, and nothing of it is recorded."""
        self._state = "running"
        notes = tuple(self._faults.notes())
        self._readout = Stored(Recording((), (), {}, {}, notes=notes))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        # no `return`: Python would be out of the `try` when it gets there
        try:
            self._end(error)
            self._tell(error)
        except BaseException as cut:  # a Ctrl-C in the middle of it, or a fault
            self._session.leave()
            self._state = "done"
            if not isinstance(cut, Exception) or is_meant(cut):
                raise
            with self._faults.losing("the warning of it"):  # a second fault
                self._faults.add("the end of the recording", cut)
                self._tell(error)

    def _end(self, error: BaseException | None) -> None:
        self._session.take_off()
        self._state = "done"
        self._finish(error)
        self._session.leave()

    def _tell(self, error: BaseException | None) -> None:
        """One warning of all that failed. What fails from now on warns as it fails."""
        told, self._faults.over = self._faults.over, True
        if self._faults and not told:
            # where the user's filters make warnings errors, the body's own comes first
            with nullcontext() if error is None else suppress(ShapeTraceWarning):
                warnings.warn(self._faults.warning(), ShapeTraceWarning, stacklevel=3)

    def _finish(self, error: BaseException | None) -> None:
        """Ask what can be asked only now, and say what there is to say."""
        if not isinstance(self._readout, Live):  # nothing of the batch was seen
            return
        self._session.finish(error)
        lost = "the note on the exception" if error else "the warnings"
        with self._faults.losing(lost):
            self._say(error)

    def _say(self, error: BaseException | None) -> None:
        """The explanation on the user's exception; warnings where none was raised."""
        if error is not None:
            failure = self._analyses.failure
            rank, others = self._deliver(error)
            hindered = guards.hindered_by_trace(error)
            if failure is not None or others or hindered:
                parts = (failure, others, hindered)
                told = "\n\n".join(str(part) for part in parts if part)
                if isinstance(error, Exception):
                    # not every one takes notes; t.explain() has it all the same
                    with suppress(Exception):
                        error.add_note(f"\nshapetrace{rank}:\n{told}")
            return
        if self._checks and self._session.has_loss:
            from shapetrace.checks import warn

            own = f"print({self._name}.findings[{{number}}])"
            warn(self._analyses.findings, self._ask or own)

    def _deliver(self, error: BaseException) -> tuple[str, str]:
        """Where this is one of several ranks, let the others know that it failed."""
        if not guards.has_ranks() or isinstance(error, GeneratorExit):
            return "", ""
        from shapetrace.comparison.rank_exchange import deliver

        with self._faults.losing("what other ranks are told"):
            return deliver(self.recording, self._analyses.findings, error)
        return "", ""

    @property
    def _name(self) -> str:

        from shapetrace.source.with_name import with_name

        known = self._kept_as
        if known is None and self._entered_at is not None:
            known = with_name(*self._entered_at)
        return known or super()._name

    @surviving
    def warm(self) -> Trace:
        """The same trace without its first step, which warms up: caches, the choice of
        kernels, the optimizer's state. Its tables, frames, plots and costs are those of
        the other steps; what the checks found stays with the whole trace.

        Raises:
            UsageError: if there is no second step, or no times were taken.

        Examples:
            >>> import torch, shapetrace
            >>> model = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(model) as t:
            ...     for _ in range(3):
            ...         model(torch.ones(2, 4)).sum().backward()
            >>> len(t.steps()), len(t.warm().steps())
            (3, 2)
        """
        from shapetrace.costs import without_first_step

        made = Trace.__new__(Trace)
        made._restore(without_first_step(self._calibrated().recording), ())
        return made

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
