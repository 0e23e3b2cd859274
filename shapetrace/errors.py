"""What shapetrace itself raises and warns."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class ShapeTraceError(Exception):
    """Base of every error that shapetrace raises on its own account."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: from the cell to the line that called us. The last frame
        it would show though that is marked as hidden."""
        from IPython.core.getipython import get_ipython

        shell: Any = get_ipython()
        start, ours, entry = None, True, self.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
                ours = True
            elif ours and entry.tb_frame.f_globals is shell.user_ns:
                start, ours = entry, False  # the magic's own frames are before it
            entry = entry.tb_next
        last = start
        while last is not None and last.tb_next is not None:
            if last.tb_next.tb_frame.f_code.co_filename.startswith(_PACKAGE):
                last.tb_next = None
            last = last.tb_next
        shown: list[str] = shell.InteractiveTB.structured_traceback(
            type(self), self, start or self.__traceback__, tb_offset=0
        )
        return shown


class UsageError(ShapeTraceError, TypeError):
    """shapetrace was called with something that it cannot trace or explain."""


class ReportError(ShapeTraceError, OSError):
    """A report could not be written or read; what was recorded is unharmed."""


class ShapeError(ShapeTraceError, AssertionError):
    """A tensor has not the shape that `Trace.expect` was told.

    The message is the explanation; `diagnosis` holds it as data.
    """

    def __init__(self, message: str, diagnosis: object = None) -> None:
        super().__init__(message)
        self.diagnosis = diagnosis


class ShapeTraceWarning(UserWarning):
    """Something in the batch is legal for PyTorch and probably not meant."""


Told = Callable[[str, BaseException], None]
_TOLD: ContextVar[Told | None] = ContextVar("_TOLD", default=None)


@contextmanager
def telling(told: Told) -> Iterator[None]:
    """Whom `costs_an_answer` tells meanwhile."""
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)


def costs_an_answer(lost: str, fault: BaseException) -> None:
    """A fault of ours costs one answer of many: who asked goes on as where nothing is
    known, and the trace that is being read says what is lost."""
    told = _TOLD.get()
    if told is None:
        words = f"a fault of shapetrace's own cost {lost}: {type(fault).__name__}"
        warnings.warn(f"{words}: {fault}", ShapeTraceWarning, stacklevel=2)
    else:
        told(lost, fault)
