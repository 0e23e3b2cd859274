"""What the recorder writes: one flat list of raw events.

    ENTER, site, stamp, thread, code, lasti, kwargs, n, *inputs
    EXIT,  site, stamp, thread, output
    FAIL,  site, stamp, thread, error
    GIVEN, site, thread, kwargs, n, *inputs   what pre-hooks have made of the inputs
    CALL,  func, code, lasti, kwargs, n, *inputs, start, end, output
    MAKE,  func, code, lasti, kwargs, n, *inputs, start, end, ref, dtype, device,
           rank, *shape
    RAISE, func, code, lasti, kwargs, n, *inputs, start, end, error
    DEFINE, ref, shape, dtype, device, origin
    REPLAYED, thread                  the next call is made by a running backward
    VALUES, ref, (smallest, largest)
    NOTE, thread, cell                what extensions note of the next module call
    LIVE, stamp, bytes by kind        alive from now on

An input is plain data or the weak reference of a tensor defined before; `code` is None
where the place in the user's code is that of the enclosing module call; `thread` is 0
for the tracing thread. `replay.py` turns the events into records.
"""

from __future__ import annotations

from types import CodeType
from typing import TypeAlias

from shapetrace.source.place import raised_at

ENTER, EXIT, FAIL, CALL, MAKE, RAISE = range(6)
DEFINE, REPLAYED, VALUES, NOTE, LIVE, GIVEN = range(6, 12)

#: an exception's type, message, identity and place
Failure: TypeAlias = tuple[str, str, int, tuple[CodeType, int] | None]


def error_tuple(error: BaseException) -> Failure:
    """An exception without the exception."""
    try:
        message = str(error)
    except Exception:  # a user's exception with a broken __str__
        message = ""
    place = raised_at(error.__traceback__)
    return (type(error).__qualname__, message, id(error), place)
