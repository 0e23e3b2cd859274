"""What the recorder writes: one flat list of raw events.

    ENTER, site, stamp, thread, code, lasti
    ENTER_INSIDE, site, stamp         from torch's own forward, in the tracing thread
    LEAVE_ONE, site, stamp, input, output   in the tracing thread
    LEAVE, site, stamp, thread, kwargs, n, *inputs, output
    FAIL,  site, stamp, thread, kwargs, n, *inputs, error
    CALL,  func, code, lasti, kwargs, n, *inputs, start, end, output, met, left
    MAKE,  func, code, lasti, kwargs, n, *inputs, start, end, ref, dtype, device,
           rank, *shape, met
    RAISE, func, code, lasti, kwargs, n, *inputs, start, end, error
    DEFINE, ref, shape, dtype, device, origin
    THREAD, thread                    the next function call is made in that thread
    RECOMPUTED, thread                the next call is made by a running backward
    LEFT, thread, count               only the outermost `count` calls are open still
    VALUES, ref, [smallest, largest], which is empty until they have been copied
    NOTE, thread, cell                what extensions note of the next module call
    LIVE, stamp, bytes by kind, ran   alive from now on; `ran`: of a node of a backward
                                      that has just run, the stamp of when it was
                                      made, and its name; else None
    UNSEEN, thread, name              what the innermost call does that is not recorded
    READ                              an attribute of a tensor is read, or set, in the
                                      tracing thread
    SPENT, thread, since, until       the recorder's own time, in the innermost call
    WAITED, since, until, ns          the tracing thread waited for a processor
    BEGUN, done                       the function before it has begun an asynchronous
                                      collective; `done` is a list of when it was over
    GAP, start, end, grad             between these stamps only figures were kept; then
                                      autograd was on or off

An input is plain data or the weak reference of a tensor defined before; `code` is None
where the place in the user's code is that of the enclosing module call; `thread` is 0
for the tracing thread. `met` is when the recorder was called for a function, and `left`
when it was done, which after what gives one plain tensor always takes as long.
`build.py` turns the events into records.
"""

from __future__ import annotations

from types import CodeType
from typing import Any, TypeAlias

from shapetrace.source.place import raised_at

ENTER, LEAVE, FAIL, CALL, MAKE, RAISE = range(6)
DEFINE, THREAD, RECOMPUTED, LEFT, VALUES, NOTE, LIVE = range(6, 13)
ENTER_INSIDE, LEAVE_ONE, UNSEEN, GAP, READ, SPENT, WAITED, BEGUN = range(13, 21)

#: an exception's type, message, identity and place
Failure: TypeAlias = tuple[str, str, int, tuple[CodeType, int] | None]

_LENGTHS = {
    **{ENTER: 6, DEFINE: 6, THREAD: 2, RECOMPUTED: 2},
    **{LEFT: 3, VALUES: 3, NOTE: 3, LIVE: 4, ENTER_INSIDE: 3, LEAVE_ONE: 5},
    **{UNSEEN: 3, GAP: 4, READ: 1, SPENT: 4, WAITED: 4, BEGUN: 2},
}


def after(events: list[Any], at: int) -> int:
    """Where the event after the one at `at` begins."""
    kind = events[at]
    if kind in _LENGTHS:
        return at + _LENGTHS[kind]
    end = at + 6 + int(events[at + 5])
    if kind <= FAIL:
        return end + 1
    if kind == MAKE:
        return end + 7 + int(events[end + 5])
    return end + (5 if kind == CALL else 3)


def error_tuple(error: BaseException) -> Failure:
    """An exception without the exception."""
    try:
        message = str(error)
    except Exception:  # a user's exception with a broken __str__
        message = ""
    place = raised_at(error.__traceback__)
    return (type(error).__qualname__, message, id(error), place)
