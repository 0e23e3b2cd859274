"""What the code of a module's forward says of the time that it takes itself."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable
from functools import cache
from types import FunctionType
from typing import Any

from torch import nn

from shapetrace.records import ModuleInfo

#: before and from Python 3.12
_READING = {"LOAD_ATTR", "LOAD_METHOD"}
#: of torch's layers those that do little more than call functions have 10 to 150
#: instructions, attention, encoders and recurrent ones 300 to 500
_LONG = 200


def tensor_reads(info: ModuleInfo) -> int:
    """How often one call reads the tensors of the module, each of which a function in
    Python finds, `Module.__getattr__`: of `nn.BatchNorm1d`, which reads its five nine
    times, a third of its time. Each at least once: what is read elsewhere than in the
    forward, as by recurrent layers, takes as long."""
    names = {ref.path for ref in (*info.parameters, *info.buffers)}
    code = _code(info.qualname) or ()
    reads = sum(step[0] in _READING and step[1] in names for step in code)
    return max(reads, len(names))


def is_long(info: ModuleInfo) -> bool:
    """Whether the forward has much Python of its own."""
    code = _code(info.qualname)
    return code is not None and len(code) > _LONG


@cache
def _code(qualname: str) -> tuple[tuple[str, Any], ...] | None:
    """Instructions and their arguments; None where there are none to be read."""
    home, _, name = qualname.rpartition(".")
    kind: Any = getattr(sys.modules.get(home), name, None)
    forward = getattr(kind, "forward", None)
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        return None
    if type(forward) is not FunctionType:
        return None
    found: Iterable[Any] = dis.get_instructions(forward.__code__)
    return tuple((step.opname, step.argval) for step in found)
