"""Nested values to plain data: every tensor described, nothing kept alive.

A tensor that is already known becomes its weak reference; one that is described here
becomes a *definition*, the plain tuple `(weak reference, shape, dtype, device)`.
Containers become `Nested`, so that a plain tuple always is a definition.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import EllipsisType, NoneType
from typing import Any, TypeAlias

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.records import Opaque

Reference: TypeAlias = "weakref.ref[torch.Tensor]"
Definition: TypeAlias = tuple[Reference, Any, torch.dtype, torch.device]

#: kept as they are; none of them can hold a tensor
PLAIN: frozenset[type] = frozenset(
    {
        int,
        float,
        bool,
        str,
        NoneType,
        complex,
        EllipsisType,
        torch.dtype,
        torch.device,
        torch.layout,
        torch.memory_format,
    }
)
_DEPTH = 100  # deeper than that nothing is nested; Python ends at ten times that
_LONG = 64  # a longer list of plain numbers is data, not an argument
_SEQUENCES = {tuple, list, torch.Size}
#: of short sequences, which most calls of a convolution or a view have
_KEYS = tuple(tuple(range(count)) for count in range(17))


class Nested:
    """A container: its type's name, how its parts are addressed, and its parts.

    `style` is "item" for `[0]` and `['key']`, "field" for `.name`.
    """

    __slots__ = ("kind", "style", "keys", "values")

    def __init__(
        self, kind: str, style: str, keys: tuple[Any, ...], values: list[Any]
    ) -> None:
        self.kind = kind
        self.style = style
        self.keys = keys
        self.values = values


def describe(tensor: torch.Tensor) -> Definition:
    """Called with torch functions disabled: `.shape` is no event."""
    try:
        shape: Any = tuple(tensor.shape)
    except Exception:  # a nested (ragged) tensor has no one shape
        shape = ()
    if type(tensor) is not torch.Tensor and not all(type(n) is int for n in shape):
        shape = ()  # a size that is a symbol, as that of a jagged tensor, is no number
    return (weakref.ref(tensor), shape, tensor.dtype, tensor.device)


def freeze(
    value: Any, leaf: Callable[[torch.Tensor], Any], above: tuple[Any, ...] = ()
) -> Any:
    """`value` as plain data, with `leaf(tensor)` in place of each tensor.

    `above` are the containers that it is in: one inside itself ends where it recurs.
    """
    if isinstance(value, torch.Tensor):
        return leaf(value)
    kind = type(value)
    if kind in PLAIN:
        return value
    if len(above) >= _DEPTH or any(value is outer for outer in above):
        return Opaque(kind.__qualname__)
    above = (*above, value)
    if kind in _SEQUENCES and len(value) < len(_KEYS):
        found = [
            part if type(part) in PLAIN else freeze(part, leaf, above) for part in value
        ]
        return Nested(kind.__name__, "item", _KEYS[len(value)], found)
    try:
        parts = _parts(value)
    except Exception:  # the user's container cannot be looked into
        parts = None
    if parts is None:
        return Opaque(kind.__qualname__)
    name, style, keys, values = parts
    if len(values) > _LONG and all(type(part) in PLAIN for part in values):
        return Opaque(f"{name} of {len(values)} values")
    return Nested(name, style, keys, [freeze(part, leaf, above) for part in values])


def _parts(value: Any) -> tuple[str, str, tuple[Any, ...], list[Any]] | None:
    """Type name, addressing style, keys and parts of a container; None for others."""
    kind = type(value)
    name = kind.__qualname__
    if kind is slice:
        bounds = [value.start, value.stop, value.step]
        return name, "item", ("start", "stop", "step"), bounds
    if isinstance(value, Mapping):
        items = list(value.items())
        keys = tuple(_key(key, at) for at, (key, _) in enumerate(items))
        return name, "item", keys, [part for _, part in items]
    if isinstance(value, (tuple, list, deque)):
        fields = getattr(kind, "_fields", None)
        if isinstance(value, tuple) and fields is not None:
            return name, "field", tuple(fields), list(value)
        return name, "item", tuple(range(len(value))), list(value)
    if isinstance(value, (set, frozenset)):
        return name, "item", tuple(range(len(value))), list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = dict(_fields(value))
        return name, "field", tuple(named), list(named.values())
    node = torch_internals.containers.get(kind)
    if node is not None:
        children, _ = node.flatten_fn(value)
        children = list(children)
        return name, "item", tuple(range(len(children))), children
    return None


def _key(key: Any, at: int) -> Any:
    """A key of a mapping as plain data: a tensor or module would be kept alive."""
    if type(key) in PLAIN:
        return key
    if type(key) is tuple and all(type(part) in PLAIN for part in key):
        return key
    if isinstance(key, Enum):
        return Opaque(f"{type(key).__qualname__}.{key.name}")
    return Opaque(f"{type(key).__qualname__} {at}")


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        try:
            yield field.name, getattr(value, field.name)
        except Exception:  # not set, or a property of the user's that fails
            continue


def outline(frozen: Any) -> str:
    """The nested types of a frozen value: `tuple(Tensor, tuple(Tensor, Tensor))`."""
    if type(frozen) is tuple or isinstance(frozen, weakref.ref):
        return "Tensor"
    if isinstance(frozen, Nested):
        inner = [outline(part) for part in frozen.values[:6]]
        if len(frozen.values) > 6:
            inner.append("…")
        return f"{frozen.kind}({', '.join(inner)})"
    if isinstance(frozen, Opaque):
        return frozen.type
    return type(frozen).__name__


def address(path: str, style: str, key: Any) -> str:
    """The path of one part: `args[0]`, `kwargs['mask']`, `output.logits`."""
    return f"{path}.{key}" if style == "field" else f"{path}[{key!r}]"
