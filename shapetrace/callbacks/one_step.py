"""The trace of one step, that a framework says when to begin and when to end."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.trace import Trace, trace

Path = str | os.PathLike[str]


class OneStep:
    """Traces the `step`-th training step (from 1), then writes it to `path`, whose
    ending says the format (.html, .csv, .json); with no path, to standard error.

    `options` are those of `shapetrace.trace`. `trace` is None until the step begins.
    """

    def __init__(self, step: int, path: Path | None, options: dict[str, Any]) -> None:
        if type(step) is not int or step < 1:
            raise UsageError(f"step={step!r}: steps are counted from 1.")
        self.step = step
        self._path = None if path is None else os.fspath(path)
        if self._path is not None:
            self._writer(Trace)
            folder = os.path.dirname(self._path)
            if folder and not os.path.isdir(folder):
                raise UsageError(f"path={self._path!r}: make the folder first.")
        self._options = options
        self.running = False
        self.trace: Trace | None = None

    def begin(self, model: nn.Module, taken: int) -> None:
        """A step begins; `taken` steps have been taken before."""
        if self.trace is None and taken == self.step - 1:
            self.trace = trace(model, **self._options)
            self.trace._kept_as = "callback.trace"
            self.trace.__enter__()
            self.running = True

    def end(self, taken: int) -> None:
        """A part of a step has ended; `taken` steps have been taken by now."""
        if self.running and taken >= self.step:
            self.close(None)

    def close(self, error: BaseException | None) -> None:
        """The run ends, whatever the step has got to; `error` is what ended it."""
        if not self.running or self.trace is None:
            return
        self.running = False
        kind = None if error is None else type(error)
        traceback = None if error is None else error.__traceback__
        self.trace.__exit__(kind, error, traceback)
        if self._path is None:
            print(self.trace, file=sys.stderr)
            return
        try:
            self._writer(self.trace)(self._path)
        except OSError as fault:  # a full disk must not end the training
            _warn(f"{fault}; callback.trace holds the report")

    def over(self, taken: int) -> None:
        """The training has ended, with so many steps taken."""
        self.close(None)
        if self.trace is None:
            _warn(f"the training ended with step {taken}: step {self.step} never began")

    def _writer(self, t: Any) -> Callable[[str], None]:
        ending = os.path.splitext(self._path or "")[1]
        writers = {".html": t.to_html, ".csv": t.to_csv, ".json": t.to_json}
        if ending not in writers:
            raise UsageError(
                f"path={self._path!r}: the name must end in {', '.join(writers)}."
            )
        found: Callable[[str], None] = writers[ending]
        return found


def _warn(said: str) -> None:
    warnings.warn(said, ShapeTraceWarning, stacklevel=2)


class StepCallback:
    """What the trainers' callbacks have in common: the step to trace, and its trace."""

    def __init__(self, step: int = 1, path: Path | None = None, **options: Any) -> None:
        self._one = OneStep(step, path, options)

    @property
    def step(self) -> int:
        """The training step that is traced, counted from 1."""
        return self._one.step

    @property
    def trace(self) -> Trace | None:
        """What was recorded; None before the step."""
        return self._one.trace
