"""Torch's own warnings as often, and from the same line, as without a trace.

Python's warnings go by the frame that called: its file, its line, and its globals,
where it is noted that this line has warned. Under a function mode that frame would be
the mode's. What may warn is therefore called through a stand-in, a function with the
file, line and globals of the frame that called it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch

from shapetrace.recording.hidden import BACKWARDS
from shapetrace.recording.tracebacks import is_detour
from shapetrace.source.place import STANDS_IN

StandIn = Callable[[Any, Any, Any], Any]

_CALL: CodeType = (lambda func, args, kwargs: func(*args, **kwargs)).__code__
_HOMES = ("torch.nn.functional", "torch.functional", "torch._tensor")
#: What is written in C++ warns of the line that calls it: of masks of bytes, of results
#: that `out` had no room for, of overloads of old. Not so these, called with as many
#: arguments and none by name: small ones that models call most, for which a stand-in
#: (a fifth of a microsecond) would be felt.
SILENT: dict[Any, int] = {
    torch.nn.functional.linear: 3,
    **{
        getattr(torch.Tensor, name): 2
        for name in ("add", "sub", "mul", "div", "matmul")
    },
    **{getattr(torch.Tensor, name): 1 for name in ("neg", "relu", "size")},
    torch.relu: 1,
}
#: reading these warns: of a tensor that is no leaf, of one without two dimensions
WARNS_OF_READING = frozenset(
    getattr(torch.Tensor, name) for name in ("grad", "T", "mT", "H", "mH")
)
#: torch's functions warn of the line that calls them, unless they are told how many
#: frames further out: `nn.Softmax()` is called by torch's own code
USUAL_LEVEL = 3
#: what hands a call to our mode has warnings of its own, which no call of ours meets
_DISPATCH = {"handle_torch_function"}
#: how far the functions that a function calls are looked through
_DEPTH = 3


class Callers:
    """The stand-ins of one trace: one for each place that calls what may warn."""

    def __init__(self) -> None:
        self._made: dict[tuple[CodeType, int], FunctionType] = {}
        self._nested: dict[tuple[StandIn, ...], StandIn] = {}
        self._warns: dict[Any, bool] = {}

    def warns(self, func: Any) -> bool:
        """Whether a torch function written in Python may warn, as far as its code and
        that of what it calls tell; a backward calls the hooks of modules, which do."""
        known = self._warns.get(func)
        if known is None:
            home = getattr(func, "__module__", None)
            known = func in BACKWARDS or home in _HOMES and _torchs_may_warn(func)
            self._warns[func] = known
        return known

    def standing_in(self, frame: FrameType, kwargs: Any = None) -> StandIn:
        """As `at`; as those around that frame would, where the keyword arguments tell
        to warn of one of them."""
        usual, level = USUAL_LEVEL, (kwargs or {}).get("_stacklevel", USUAL_LEVEL)
        stand_ins = [self.at(frame)]
        for _ in range(usual, level):
            around = frame.f_back
            while around is not None and is_detour(around):
                around = around.f_back
            if around is None:
                break
            frame = around
            stand_ins.append(self.at(frame))
        if len(stand_ins) == 1:
            return stand_ins[0]
        made = self._nested.get(key := tuple(stand_ins))
        if made is None:
            made = self._nested[key] = _nested(key)
        return made

    def at(self, frame: FrameType) -> StandIn:
        """`(func, args, kwargs)`: calls as that frame would."""
        key = frame.f_code, frame.f_lasti
        made = self._made.get(key)
        if made is None or made.__globals__ is not frame.f_globals:
            code = _CALL.replace(
                co_filename=frame.f_code.co_filename,
                co_name=STANDS_IN,
                co_qualname=STANDS_IN,
                co_firstlineno=frame.f_lineno or 1,
            )
            made = self._made[key] = FunctionType(code, frame.f_globals)
        return made

    def release(self) -> None:
        """Let go of the globals, which are the user's."""
        self._made.clear()
        self._nested.clear()


def _nested(stand_ins: Sequence[StandIn]) -> StandIn:
    """Each called by the next one, with no frame of another between them."""

    def call(func: Any, args: Any, kwargs: Any) -> Any:
        inner, given = stand_ins[0], (func, args, kwargs)
        for outer in stand_ins[1:]:
            inner, given = outer, (inner, given, {})
        return inner(*given)

    return call


@cache
def _torchs_may_warn(func: FunctionType) -> bool:
    """Asked once a process: it takes up to a third of a millisecond."""
    return _may_warn(func)


def _may_warn(func: Any, depth: int = _DEPTH) -> bool:
    if not isinstance(func, FunctionType):
        return False
    names = set(func.__code__.co_names) - _DISPATCH
    if "warn" in names:
        return True
    if depth == 0:
        return False
    found = [func.__globals__.get(name) for name in names]
    modules = [one for one in found if isinstance(one, ModuleType)]
    found += [getattr(one, name, None) for one in modules for name in names]
    return any(_may_warn(one, depth - 1) for one in found)
