"""The line of ours that makes the user's own call: what the call raises is the user's,
what keeps it from being made is a fault of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from opcode import opmap
from typing import Any

#: who calls what is not recorded
PASSED: Any = object()
#: in place of an output, where a fault of ours came before the call
NOT_MADE: Any = object()

_CACHE = opmap.get("CACHE")
_CALLS = {opmap.get(name) for name in ("CALL", "CALL_FUNCTION_EX")}

Failed = Callable[[BaseException], None]


def catching(failed: Failed) -> Callable[[], Any]:
    """For the `except` of a statement that makes the user's call: a function that gives
    the class of what is caught there. That is none for what is the user's, which so
    leaves as it came, without a line of ours on its way; a fault goes to `failed`."""

    def caught() -> Any:
        try:
            error = sys.exc_info()[1]
            if error is not None and not _was_made(error):
                failed(error)
                return Exception
        except Exception as fault:  # ours must not replace the user's
            failed(fault)
        return ()

    return caught


def _was_made(error: BaseException) -> bool:
    """Whether the call had begun: then the frame that makes it, where the traceback
    begins, stood at the instruction of a call. Ctrl-C is no fault of ours."""
    frames = error.__traceback__
    if frames is None or not isinstance(error, Exception):
        return True
    code, at = frames.tb_frame.f_code.co_code, frames.tb_lasti
    while code[at] == _CACHE:  # belongs to the instruction before
        at -= 2
    return code[at] in _CALLS
