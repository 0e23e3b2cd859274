"""Functions of torch's that are written in Python: what they call within themselves is
recorded at the line that calls them, as there is no other line of the user's."""

from __future__ import annotations

import ast
import functools
from types import ModuleType

import torch
from torch.nn.utils import rnn

from shapetrace.records import FunctionCall, Source
from shapetrace.source.rewrite import span
from shapetrace.source.tree import is_own, last_name, node_at, tree

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


def called_around(call: FunctionCall) -> str | None:
    """What the user's line calls, where the recorded call was made within that:
    `sample` for the `normal` of `torch.distributions.Normal(0.0, 1.0).sample()`. None
    where the line calls the function itself, or is not known."""
    if not call.direct or not is_own(call.source):
        return None
    assert call.source is not None
    name = _called_at(call.source)
    return None if name in ("", call.name) or name in _recorded_names() else name


def handed_out(call: FunctionCall) -> bool:
    """Whether no line of the user's calls the function: it ran in a library, or in what
    their line loops over or takes the next of, a loader."""
    if call.source is None or not call.direct:
        return False
    return not is_own(call.source) or looped_over(call.source) is not None


@functools.lru_cache(maxsize=1024)
def looped_over(source: Source) -> str | None:
    """What a place of the user's takes one after the other: `loader`, where it is what
    a loop runs over, or the argument of `next`. None for all else."""
    found = node_at(source)
    call = found[1] if found is not None else None
    if found is not None and isinstance(call, ast.Call) and call.args:
        if last_name(call.func) == "next":
            return found[0].text(call.args[0])
    file = tree(source.file)
    if file is None:
        return None
    place = (source.line, source.column, source.end_line, source.end_column)
    for node in file.nodes:
        if isinstance(node, _COMPREHENSIONS):
            over = node.generators[0].iter
        elif isinstance(node, ast.For | ast.AsyncFor):
            over = node.iter
        else:
            continue
        # Python 3.11 names the whole loop, later ones what it runs over
        if place in (span(node), span(over)):
            return file.text(over)
    return None


@functools.lru_cache(maxsize=1024)
def _called_at(source: Source) -> str:
    found = node_at(source)
    node = found[1] if found is not None else None
    return last_name(node.func) if isinstance(node, ast.Call) else ""


@functools.cache
def _recorded_names() -> frozenset[str]:
    """The names by which functions are called that are recorded as one call."""
    homes: tuple[ModuleType | type, ...] = (
        torch,
        torch.Tensor,
        torch.nn.functional,
        torch.linalg,
        torch.fft,
        torch.special,
        torch.sparse,
        rnn,
    )
    return frozenset(name for home in homes for name in dir(home))
