"""Functions that a line of the user's calls, so that the line says how."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall
from shapetrace.source.library_calls import called_around

#: functions of the user's behind the failure that are looked at, the nearest first
_CALLS = 24


def own_calls(case: Case) -> Iterator[FunctionCall]:
    """The user's functions behind the failure, the failing one first."""
    if case.layer is None and _is_called_there(case.call):
        yield case.call
    found = 0
    for behind in case.behind:
        call = behind.call
        if isinstance(call, FunctionCall) and _is_called_there(call):
            if call.index < 0 or call.parent is None and not call.inputs:
                continue  # the user's data, which is asked for elsewhere
            if case.graph.library_data(behind.tensor) is not None:
                continue
            yield call
            found += 1
            if found >= _CALLS:
                return


def _is_called_there(call: Call) -> bool:
    """Whether the line calls the function itself: not one around it, in a library, as
    the `squeeze` of `distribution.log_prob(action)`."""
    return isinstance(call, FunctionCall) and call.direct and not called_around(call)
