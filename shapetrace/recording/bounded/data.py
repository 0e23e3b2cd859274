"""Which tensors are data, told before the calls that made them are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from shapetrace.recording import events as raw
from shapetrace.recording.tensors import PLAIN, Nested, Reference, is_reference


def find_data(events: list[Any], known: dict[int, Reference]) -> None:
    """Bring up to date which tensors came from outside, or were made of nothing but
    such ones, so that what is data is told when the calls that made it are gone."""
    at = 0
    while at < len(events):
        kind, end = events[at], raw.after(events, at)
        if kind == raw.DEFINE:
            reference, origin = events[at + 1], events[at + 5]
            outside = origin.kind == "outside" and not origin.requires_grad
            if outside and not isinstance(reference(), nn.Parameter):
                known[id(reference)] = reference
            else:
                known.pop(id(reference), None)
        elif kind in (raw.CALL, raw.MAKE):
            made = at + 6 + events[at + 5]
            data = not events[at + 4] or _is_data(events[at + 4], known)
            for one in events[at + 6 : made] if data else ():
                if type(one) not in PLAIN and not _is_data(one, known):
                    data = False
                    break
            for reference in _references(events[made + 2]):
                if data:
                    known[id(reference)] = reference
                elif id(reference) in known:
                    del known[id(reference)]
        at = end
    for key in [key for key, reference in known.items() if reference() is None]:
        del known[key]


def _is_data(value: Any, known: dict[int, Reference]) -> bool:
    """Whether all tensors in an argument are known."""
    if is_reference(value):
        return id(value) in known
    return all(id(one) in known for one in _references(value))


def _references(value: Any) -> Sequence[Reference]:
    """The references in frozen arguments and results."""
    kind = type(value)
    if kind is tuple:  # a tensor that is described here
        return (value[0],)
    if is_reference(value):
        return (value,)
    if kind is Nested:
        value = value.values
    elif kind is dict:
        value = value.values()
    elif kind is not list:
        return ()
    return [one for part in value for one in _references(part)]
