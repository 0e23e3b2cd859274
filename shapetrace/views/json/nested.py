"""Any value as JSON: what a user may pass to a function or write on a module.

Plain values stand as they are, a dict with names as an object, a tensor as `[row]`, all
else as a list that begins with its kind: `["slice", null, 3, null]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch

from shapetrace.errors import ShapeTraceError
from shapetrace.records import Held, Opaque, TensorRef

#: no argument of a function is nested deeper; a file that is would exhaust the stack
_DEEPEST = 100

_PLAIN = frozenset({type(None), bool, int, str})
_SEQUENCES: tuple[tuple[str, type[Collection[Any]]], ...] = (
    ("tuple", tuple),
    ("list", list),
    ("set", set),
    ("frozenset", frozenset),
)
#: torch's named constants, written by name
_CONSTANTS: dict[str, type] = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}


class Damage(ShapeTraceError):
    """What makes a document no trace; `loads` says it as a `ReportError`."""


def encode(value: Any, number: Callable[[Any], int], depth: int = 0) -> Any:
    """The value as JSON; `number` is asked for the row of a record."""
    made = type(value)
    if made is TensorRef:
        return [number(value)]
    if made in _PLAIN:
        return value
    if depth >= _DEEPEST:
        return ["Opaque", number(Opaque(made.__name__))]
    if made is Opaque or made is Held:
        return [made.__name__, number(value)]
    if made is dict and all(type(key) is str for key in value):
        return {key: encode(part, number, depth + 1) for key, part in value.items()}
    if isinstance(value, torch.Size):
        return ["Size", *value]
    for tag, kind in _SEQUENCES:
        if isinstance(value, kind):
            return [tag, *[encode(part, number, depth + 1) for part in value]]
    if isinstance(value, dict):
        flat = [part for item in value.items() for part in item]
        return ["dict", *[encode(part, number, depth + 1) for part in flat]]
    return _scalar(value, number)


def _scalar(value: Any, number: Callable[[Any], int]) -> Any:
    if isinstance(value, float):
        plain = float(value)
        return plain if math.isfinite(plain) else ["float", str(plain)]
    for tag, constant in _CONSTANTS.items():
        if isinstance(value, constant):
            return [tag, str(value).removeprefix("torch.")]
    if isinstance(value, torch.device):
        return ["device", str(value)]
    if isinstance(value, slice | range):
        parts = (value.start, value.stop, value.step)
        return [type(value).__name__, *[encode(part, number) for part in parts]]
    if isinstance(value, complex):
        return ["complex", _scalar(value.real, number), _scalar(value.imag, number)]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if value is Ellipsis:
        return ["Ellipsis"]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    return ["Opaque", number(Opaque(type(value).__name__))]


def decode(value: Any, rows: Callable[[type], list[Any]], depth: int = 0) -> Any:
    """What `encode` made JSON of."""
    made = type(value)
    if made is list:
        if len(value) == 1 and type(value[0]) is int:
            return _row(rows(TensorRef), value[0])
        return _tagged(value, rows, depth)
    if made is dict:
        _bound(depth)
        return {key: decode(part, rows, depth + 1) for key, part in value.items()}
    return value


def _tagged(value: list[Any], rows: Callable[[type], list[Any]], depth: int) -> Any:
    _bound(depth)
    if not value or type(value[0]) is not str:
        raise Damage("a value of no kind")
    tag, *parts = value
    for kind in (Opaque, Held):
        if tag == kind.__name__ and len(parts) == 1:
            return _row(rows(kind), parts[0])
    if tag not in _MAKERS:
        raise Damage(f"a value of kind {tag!r:.40}")
    try:
        return _MAKERS[tag](*[decode(part, rows, depth + 1) for part in parts])
    # an unhashable key, a slice of nothing: each kind raises its own
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise Damage(f"no {tag}: {error}") from None


def _bound(depth: int) -> None:
    # one more than is written: the innermost stands for what was left out
    if depth > _DEEPEST:
        raise Damage(f"values nested deeper than {_DEEPEST}")


def _row(table: list[Any], number: Any) -> Any:
    if type(number) is not int or not 0 <= number < len(table):
        raise Damage("a row that is not there")
    return table[number]


def constant(tag: str, name: Any) -> Any:
    """torch's dtype, layout or memory format of that name."""
    value = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(value, _CONSTANTS[tag]):
        raise Damage(f"this torch has no {tag} {name!r:.40}")
    return value


def device(name: Any) -> torch.device:
    """The device of that name, whether or not this machine has it."""
    if not isinstance(name, str):
        raise Damage("a device without a name")
    try:
        return torch.device(name)
    except RuntimeError:
        raise Damage(f"this torch has no device {name!r:.40}") from None


def _float(name: str) -> float:
    # One NaN for all: containers then compare equal, as they ask for identity first.
    if name not in ("nan", "inf", "-inf"):
        raise Damage("a number that is none")
    return math.nan if name == "nan" else float(name)


def _constant_reader(tag: str) -> Callable[[Any], Any]:
    return lambda name: constant(tag, name)


_MAKERS: dict[str, Callable[..., Any]] = {
    "tuple": lambda *values: values,
    "list": lambda *values: list(values),
    "set": lambda *values: set(values),
    "frozenset": lambda *values: frozenset(values),
    "dict": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "Size": lambda *values: torch.Size(values),
    "float": _float,
    "complex": complex,
    "device": device,
    "slice": slice,
    "range": range,
    "bytes": bytes.fromhex,
    "Ellipsis": lambda: Ellipsis,
    **{tag: _constant_reader(tag) for tag in _CONSTANTS},
}
