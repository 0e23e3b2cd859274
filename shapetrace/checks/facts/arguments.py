"""What a call was told."""

from __future__ import annotations

from shapetrace.checks.finding.context import plain
from shapetrace.records import FunctionCall
from shapetrace.signatures.binding import ALIASES


def argument(call: FunctionCall, name: str, place: int) -> object:
    """An argument by name or place; None where it is absent."""
    for key in (name, *ALIASES.get(name, ())):
        if key in call.kwargs:
            return call.kwargs[key]
    return call.args[place] if len(call.args) > place else None


def softmax_dim(call: FunctionCall) -> int | None:
    """The dimension that a softmax runs over, from 0; torch's own choice without."""
    rank = len(call.inputs[0].shape)
    place = 1 if plain(call.name) != "gumbel_softmax" else 4
    dim = argument(call, "dim", place)
    if isinstance(dim, int):
        return dim % rank if rank else None
    if dim is None and plain(call.name) != "gumbel_softmax":
        return 0 if rank in (1, 3) else 1
    return rank - 1 if rank else None


def numbers_of(call: FunctionCall) -> list[int | float]:
    """The plain numbers that a call was given."""
    return [
        value
        for value in (*call.args, *call.kwargs.values())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
