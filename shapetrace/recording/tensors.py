"""Nested values to plain data: every tensor described, nothing kept alive.

A tensor that is already known becomes its reference; one that is described here
becomes a *definition*, the plain tuple `(reference, shape, dtype, device)`.
Containers become `Nested`, so that a plain tuple always is a definition.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from itertools import islice
from types import EllipsisType, NoneType
from typing import Any, TypeAlias

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.faults import is_users
from shapetrace.records import Opaque

#: called, it gives the tensor; None, or another one, where that is gone
Reference: TypeAlias = "weakref.ref[torch.Tensor] | partial[Any]"
Form: TypeAlias = tuple[Any, torch.dtype, torch.device]
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
_CONTAINERS: tuple[Any, ...] = (tuple, list, deque, set, frozenset)
#: of short sequences, which most calls of a convolution or a view have
_KEYS = tuple(tuple(range(count)) for count in range(17))


def _attribute(name: str) -> Callable[[torch.Tensor], Any]:
    """That of a tensor as torch has it: a class of the user's may say something else,
    or raise."""
    descriptor: Any = getattr(torch.Tensor, name)
    found: Callable[[torch.Tensor], Any] = descriptor.__get__
    return found


_SHAPE, _DTYPE, _DEVICE = map(_attribute, ("shape", "dtype", "device"))
_GRAD_FN, requires_grad_of = map(_attribute, ("grad_fn", "requires_grad"))
#: the name of a class, whatever its metaclass says
name_of_class: Callable[[type], str] = type.__dict__["__qualname__"].__get__


def grad_fn_of(tensor: torch.Tensor) -> Any:
    """The node that made it. None also where torch refuses to say: of a view that was
    made under `no_grad` and whose base was changed in place since, as optimizers do
    with complex parameters."""
    try:
        return _GRAD_FN(tensor)
    except RuntimeError:
        return None


def is_tensor(value: Any) -> bool:
    """Whether it is one; `isinstance` believes what a value says of its class."""
    return issubclass(type(value), torch.Tensor)


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


def form_of(tensor: torch.Tensor) -> Form:
    """Called with torch functions disabled: `.shape` is no event."""
    try:
        shape: Any = tuple(_SHAPE(tensor))
    except Exception:  # a nested (ragged) tensor has no one shape
        shape = ()
    if type(tensor) is not torch.Tensor and not all(type(n) is int for n in shape):
        shape = ()  # a size that is a symbol, as that of a jagged tensor, is no number
    return (shape, _DTYPE(tensor), _DEVICE(tensor))


def is_reference(value: Any) -> bool:
    """Whether a frozen value stands for a tensor that was known."""
    return isinstance(value, weakref.ref | partial)


def freeze(
    value: Any, leaf: Callable[[torch.Tensor], Any], above: tuple[Any, ...] = ()
) -> Any:
    """`value` as plain data, with `leaf(tensor)` in place of each tensor.

    `above` are the containers that it is in: one inside itself ends where it recurs.
    """
    if is_tensor(value):
        return leaf(value)
    kind = type(value)
    if kind in PLAIN:
        return value
    if len(above) >= _DEPTH or any(value is outer for outer in above):
        return Opaque(name_of_class(kind))
    above = (*above, value)
    if kind in _SEQUENCES and len(value) < len(_KEYS):
        found = [
            part if type(part) in PLAIN else freeze(part, leaf, above) for part in value
        ]
        return Nested(kind.__name__, "item", _KEYS[len(value)], found)
    try:
        parts = _parts(value)
    except Exception as error:  # the user's container cannot be looked into
        if is_users(error):
            raise
        parts = None
    if parts is None:
        return Opaque(name_of_class(kind))
    name, style, keys, values = parts
    if len(values) > _LONG and all(type(part) in PLAIN for part in values):
        return Opaque(f"{name} of {len(values)} values")
    return Nested(name, style, keys, [freeze(part, leaf, above) for part in values])


def _parts(value: Any) -> tuple[str, str, tuple[Any, ...], list[Any]] | None:
    """Type name, addressing style, keys and parts of a container; None for others."""
    kind = type(value)
    name = name_of_class(kind)
    if kind is slice:
        bounds = [value.start, value.stop, value.step]
        return name, "item", ("start", "stop", "step"), bounds
    if isinstance(value, Mapping):
        items = _items(value)
        keys = tuple(_key(key, at) for at, (key, _) in enumerate(items))
        return name, "item", keys, [part for _, part in items]
    if isinstance(value, (tuple, list, deque)):
        found = _held(value)
        fields = getattr(kind, "_fields", None)
        if isinstance(value, tuple) and isinstance(fields, tuple):
            if len(fields) == len(found):
                return name, "field", fields, found
        return name, "item", tuple(range(len(found))), found
    if isinstance(value, (set, frozenset)):
        found = _held(value)
        return name, "item", tuple(range(len(found))), found
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = dict(_fields(value))
        return name, "field", tuple(named), list(named.values())
    node = torch_internals.containers.get(kind)
    if node is not None:
        children, _ = node.flatten_fn(value)
        children = list(children)
        return name, "item", tuple(range(len(children))), children
    return None


def _held(value: Any) -> list[Any]:
    """What a container holds, by Python's own iterator: one of the user's may have no
    end, or effects."""
    for base in _CONTAINERS:
        if isinstance(value, base):
            return list(base.__iter__(value))
    return []


def _items(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """As `_held`; a mapping that is no dict says itself how many there are."""
    if isinstance(value, OrderedDict):
        return list(OrderedDict.items(value))
    if isinstance(value, dict):
        return list(dict.items(value))
    return list(islice(value.items(), len(value)))


def _key(key: Any, at: int) -> Any:
    """A key of a mapping as plain data: a tensor or module would be kept alive."""
    if type(key) in PLAIN:
        return key
    if type(key) is tuple and all(type(part) in PLAIN for part in key):
        return key
    if isinstance(key, Enum):
        return Opaque(f"{name_of_class(type(key))}.{key.name}")
    return Opaque(f"{name_of_class(type(key))} {at}")


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        try:
            yield field.name, getattr(value, field.name)
        except Exception:  # not set, or a property of the user's that fails
            continue


def outline(frozen: Any) -> str:
    """The nested types of a frozen value: `tuple(Tensor, tuple(Tensor, Tensor))`."""
    if type(frozen) is tuple or is_reference(frozen):
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
