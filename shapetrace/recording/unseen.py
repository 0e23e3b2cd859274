"""Module calls that no hook sees: a forward that was called directly, and what a
scripted module calls inside. They have no row, and a reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from shapetrace.recording.snapshot import SeenModule
from shapetrace.records import FunctionCall, ModuleCall

#: file and qualified name of a function
Key = tuple[str, str]
#: so many are named
_MOST = 3


def unseen_calls(
    functions: Iterable[FunctionCall],
    calls: Sequence[ModuleCall],
    seen: Sequence[SeenModule],
) -> list[str]:
    """What to say of them, in a sentence each."""
    said = []
    direct = _called_directly(functions, calls, seen)
    if direct:
        names = ", ".join(f"`{name}`" for name in direct[:_MOST])
        said.append(
            f"{names}: called as a method, which no hook sees, or of a module that is "
            "none of those traced, made in a forward: that call has no row, and what "
            "it calls stands one level higher"
        )
    called = {call.name for call in calls}
    scripted = [
        one.name or one.kind.__name__
        for one in seen
        if issubclass(one.kind, torch.jit.ScriptModule) and one.name in called
    ]
    if scripted:
        names = ", ".join(f"`{name}`" for name in scripted[:_MOST])
        said.append(f"{names}: scripted, and one row: what it calls inside is not seen")
    return said


def _called_directly(
    functions: Iterable[FunctionCall],
    calls: Sequence[ModuleCall],
    seen: Sequence[SeenModule],
) -> list[str]:
    """Forwards of the user's in which functions were called though no call of their
    module, or of one that inherits them, was open."""
    own = {one.name: _forwards(one.kind) for one in seen}
    known = {key for keys in own.values() for key in keys}
    found: dict[Key, None] = {}
    for function in functions:
        place = function.source
        if place is None or (key := (place.file, place.function)) not in known:
            continue
        at = function.parent
        while at is not None and key not in own.get(calls[at].name, ()):
            at = calls[at].parent
        if at is None:
            found[key] = None
    for first, *inherited in filter(None, own.values()):
        if first in found:  # what it calls by super() is no call of its own
            for key in inherited:
                found.pop(key, None)
    return [name for _, name in found]


def _forwards(kind: type[nn.Module]) -> list[Key]:
    """The forwards that a call of a module of this class may run: its own, and those
    that it inherits."""
    found = []
    for one in kind.__mro__:
        code = getattr(vars(one).get("forward"), "__code__", None)
        if code is not None and one.__module__.partition(".")[0] != "torch":
            found.append((code.co_filename, code.co_qualname))
    return found
