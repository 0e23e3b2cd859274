"""The registry of checks: a code, how grave, one line of what and why, a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from shapetrace.checks.finding.context import CheckContext
from shapetrace.records import Diagnosis, Severity

Run: TypeAlias = Callable[[CheckContext, "Check"], Iterable[Diagnosis]]


class Check(NamedTuple):
    """One rule. `summary` says in one line what is wrong and why it matters."""

    code: str
    severity: Severity
    summary: str
    run: Run


#: every check by its code, in the order of their files
CHECKS: dict[str, Check] = {}


def check(code: str, severity: Severity, summary: str) -> Callable[[Run], Run]:
    """Register a function as the check of that code."""

    def register(run: Run) -> Run:
        CHECKS[code] = Check(code, severity, summary, run)
        return run

    return register
