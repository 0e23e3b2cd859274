"""A traceback without the frames that tracing put into it.

Under a function mode torch calls a function of its own that is written in Python twice:
the call of the user's finds the mode and goes through `torch.overrides` to it, and the
mode calls the function again. The traceback then tells each such call in four entries,
where without a trace it has one. And under global hooks torch calls every module from
another line of its own than without.
"""

from __future__ import annotations

import dis
import os
from collections.abc import Iterator
from functools import cache
from types import CodeType, FrameType, TracebackType

import torch.overrides
from torch import nn

from shapetrace.source.place import STANDS_IN

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OVERRIDES = torch.overrides.__file__
_MODULE = nn.modules.module.__file__
#: where a module keeps the hooks for which torch's call of it takes a detour
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def clean(error: BaseException) -> None:
    """Take our frames out of the tracebacks of an exception, and of those behind it."""
    todo: list[BaseException | None] = [error]
    done: set[int] = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in done:
            continue
        done.add(id(one))
        one.__traceback__ = without_ours(one.__traceback__)
        todo += [one.__cause__, one.__context__]


def without_ours(first: TracebackType | None) -> TracebackType | None:
    """The entries as they would be without a trace; all, where none would be left."""
    entries = list(each(first))
    codes = [entry.tb_frame.f_code for entry in entries]
    drop: set[int] = set()
    for at, code in enumerate(codes):
        if code.co_filename.startswith(_PACKAGE) or code.co_name == STANDS_IN:
            drop.add(at)
        elif is_detour(entries[at].tb_frame):
            drop.add(at)
            if at:
                entries[at - 1] = _direct(entries[at - 1])
    for at in sorted(drop, reverse=True):
        if at >= 2 and codes[at - 1].co_filename == _OVERRIDES:
            drop.add(at - 1)
            again = next((n for n in range(at, len(codes)) if n not in drop), at)
            if codes[at - 2] is codes[again]:
                drop.add(at - 2)
    kept = [entry for at, entry in enumerate(entries) if at not in drop]
    if not kept:
        return first
    for entry, following in zip(kept, [*kept[1:], None], strict=True):
        entry.tb_next = following
    return kept[0]


def each(first: TracebackType | None) -> Iterator[TracebackType]:
    while first is not None:
        yield first
        first = first.tb_next


def is_detour(frame: FrameType) -> bool:
    """Whether torch's call of a module goes through its code for hooks though the
    module has none: then it does so for a trace's global ones."""
    code = frame.f_code
    if code.co_name != "inner" or code.co_filename != _MODULE:
        return False
    module = frame.f_locals.get("self")
    return isinstance(module, nn.Module) and not any(
        getattr(module, name, None) for name in _HOOKS
    )


def _direct(entry: TracebackType) -> TracebackType:
    """The entry of torch's call of a module, at the line that calls its forward where
    there are no hooks."""
    direct = _direct_call(entry.tb_frame.f_code)
    if direct is None:
        return entry
    lasti, lineno = direct
    return TracebackType(None, entry.tb_frame, lasti, lineno)


@cache
def _direct_call(code: CodeType) -> tuple[int, int] | None:
    """The instruction and the line of the first call of `forward_call`."""
    loaded_on = None
    for one in dis.get_instructions(code):
        line = one.positions.lineno if one.positions else None
        if one.opname.startswith("LOAD") and one.argval == "forward_call":
            loaded_on = line
        elif one.opname == "CALL_FUNCTION_EX" and line and line == loaded_on:
            return one.offset, line
    return None
