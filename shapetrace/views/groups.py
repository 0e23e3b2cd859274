"""What one row of a frame or a summary is: `by` names a way to put calls together.

A new `by` is one function and one entry of `GROUPINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from shapetrace.records import Recording
from shapetrace.views.columns import Group
from shapetrace.views.marks import Marks, Remark


def by_call(rec: Recording, marks: Marks) -> list[Group]:
    remarks = marks.calls
    return [
        Group((call,), "call", remarks.get(at, ())) for at, call in enumerate(rec.calls)
    ]


def by_module(rec: Recording, marks: Marks) -> list[Group]:
    """Calls of one module together, in the order of their first call."""
    calls: dict[str, list[Any]] = {}
    remarks: dict[str, list[Remark]] = {}
    for at, call in enumerate(rec.calls):
        calls.setdefault(call.name, []).append(call)
        remarks.setdefault(call.name, []).extend(marks.calls.get(at, ()))
    return [Group(of, "call", remarks[name]) for name, of in calls.items()]


def by_function(
    rec: Recording, marks: Marks, positions: Iterable[int] | None = None
) -> list[Group]:
    """The function calls, or those at these positions."""
    chosen = range(len(rec.functions)) if positions is None else positions
    remarks = marks.functions
    return [
        Group((rec.functions[at],), "function", remarks.get(at, ())) for at in chosen
    ]


#: what `by` takes: which columns the frame has ("call", "function", or "group" where a
#: row is of several calls), and how its rows are made
GROUPINGS: dict[str, tuple[str, Callable[[Recording, Marks], list[Group]]]] = {
    "call": ("call", by_call),
    "module": ("group", by_module),
    "function": ("function", by_function),
}
