"""What of ours failed, and what was lost with it: never the user's batch.

Nothing is kept of an exception but words: it would keep tensors alive.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import warnings
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any

import torch

from shapetrace.errors import ShapeTraceError, ShapeTraceWarning

_PACKAGE = __name__.partition(".")[0]
_MOST = 5
#: what we raise on purpose
_MEANT = ShapeTraceWarning, ShapeTraceError


class Faults:
    """The faults of one trace. While the block runs they are collected; its end warns
    of them, once. What fails later, in a view, warns as it fails."""

    def __init__(self, *, over: bool = False) -> None:
        #: whether the block has ended
        self.over = over
        #: what is lost, and the fault that cost it: the first of each
        self._lost: dict[str, str] = {}
        self._count = 0
        #: what is lost since a kernel of the user's broke the accelerator's context
        self._out_of_reach: list[str] = []

    def __len__(self) -> int:
        return self._count

    def add(self, lost: str, fault: BaseException) -> None:
        """Something of ours failed; the batch goes on without what is lost. What is the
        user's is raised on; a second fault, while this one is noted, costs its words.
        """
        try:
            self._note(lost, fault)
        except Exception as again:
            if again is fault or is_meant(again):
                raise
            self._count = max(self._count, 1)
            self._lost.setdefault(lost, type(fault).__name__)

    def _note(self, lost: str, fault: BaseException) -> None:
        if is_users(fault):
            raise fault
        if isinstance(fault, torch.AcceleratorError):
            if lost not in self._out_of_reach:
                self._out_of_reach.append(lost)
            return
        self._count += 1
        if lost not in self._lost and len(self._lost) < _MOST:
            said = self._lost[lost] = _said(fault)
            if self.over:
                told = _warning({lost: said})
                warnings.warn(told, ShapeTraceWarning, stacklevel=_level())

    def losing(self, lost: str) -> Losing:
        """A `with` block whose faults are kept from the user; `lost` says the cost."""
        return Losing(self, lost)

    def notes(self) -> list[str]:
        """For who reads the report."""
        said = []
        if self._out_of_reach:
            lost = ", ".join(self._out_of_reach)
            said.append(f"incomplete: the accelerator failed, and {lost} went with it")
        if not self._count:
            return said
        many = "a fault" if self._count == 1 else f"{self._count} faults"
        lost = ", ".join(self._lost)
        return [
            *said,
            f"incomplete: {lost} could not be recorded ({many} of shapetrace's own)",
        ]

    def words(self, lost: str, fault: BaseException) -> str:
        """Of one fault, for who asked for what it cost."""
        again = ". Ask again when there is room for it" if may_pass(fault) else ""
        return _warning({lost: _said(fault)}) + again

    def warning(self) -> str:
        """For who ran the batch, where anything failed."""
        try:
            return _warning(self._lost)
        except Exception:  # no room for all the words
            return "a fault of shapetrace's own: the report is incomplete"


class Losing:
    """See `Faults.losing`. Interrupts are the user's own, and what we raise on purpose
    is meant for the user: both pass."""

    def __init__(self, faults: Faults, lost: str) -> None:
        self._faults, self._lost = faults, lost

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        frames: TracebackType | None,
    ) -> bool:
        if not isinstance(fault, Exception) or is_meant(fault):
            return False
        if is_users(fault):
            return False
        self._faults.add(self._lost, fault)
        return True


def is_meant(fault: BaseException) -> bool:
    """Whether we raise it on purpose, for the user."""
    return isinstance(fault, _MEANT)


def may_pass(fault: BaseException) -> bool:
    """Whether what failed may succeed when it is tried again: no memory, no descriptor
    for a file, also one of code, no room on the stack."""
    return isinstance(fault, MemoryError | OSError | ImportError | RecursionError)


def is_users(fault: BaseException) -> bool:
    """Whether a signal handler of the user's raised it, as one does that ends what is
    too slow; Python runs it between any two instructions, ours too."""
    try:
        handlers = {_code_of(signal.getsignal(one)) for one in signal.valid_signals()}
        frames = fault.__traceback__
        while frames is not None:
            if frames.tb_frame.f_code in handlers:
                return True
            frames = frames.tb_next
    except Exception:  # no room on the stack, or a handler that cannot be asked
        pass
    return False


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    if callable(handler) and not isinstance(handler, FunctionType | MethodType):
        handler = type(handler).__call__
    return getattr(handler, "__code__", None)


def _said(fault: BaseException) -> str:
    try:
        return f"{type(fault).__name__}: {fault}{_place(fault)}"
    except Exception:  # no room on the stack for more words, or it has none
        return type(fault).__name__


def _warning(lost: dict[str, str]) -> str:
    version = getattr(sys.modules[_PACKAGE], "__version__", "")
    said = "; ".join(dict.fromkeys(lost.values()))
    return (
        f"a fault of shapetrace's own cost {', '.join(lost)}. Your batch is unharmed, "
        "the report is incomplete. Please report it with these words: shapetrace "
        f"{version}, torch {torch.__version__}, Python {platform.python_version()}: "
        f"{said}"
    )


def _level() -> int:
    """How many frames out from our caller the first is that is not ours."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and (_is_ours(frame) or _is_between(frame)):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE)


def _is_between(frame: FrameType) -> bool:
    """Whether it calls what of ours a context manager decorates."""
    return frame.f_globals.get("__name__") == "contextlib"


def _place(fault: BaseException) -> str:
    """Our own innermost line."""
    place, frames = "", fault.__traceback__
    while frames is not None:
        code = frames.tb_frame.f_code
        if _is_ours(frames.tb_frame):
            place = f" (in {os.path.basename(code.co_filename)}:{frames.tb_lineno})"
        frames = frames.tb_next
    return place
