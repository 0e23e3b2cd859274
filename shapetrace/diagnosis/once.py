"""Questions about a case that every hypothesis asks again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from shapetrace.diagnosis.case import Case

_Told = TypeVar("_Told")


def once(tell: Callable[[Case], _Told]) -> Callable[[Case], _Told]:
    """Asked once of each case, which keeps the answer."""

    @wraps(tell)
    def told(case: Case) -> _Told:
        if tell not in case.answers:
            case.answers[tell] = tell(case)
        found: _Told = case.answers[tell]
        return found

    return told
