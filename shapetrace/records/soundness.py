"""Records whose fields hold what their annotations say.

Nothing asks for it while all goes well: it would cost as much as making the records.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, Literal, TypeVar

R = TypeVar("R")


class Unsound(Exception):
    """A value that its annotation does not allow, and that nothing stands in for."""


def sound(record: R) -> R:
    """The record itself where all that it holds is as annotated; else a copy, with
    defaults for the fields that are not, and without the records that cannot be mended.

    Raises:
        Unsound: if that leaves no such record.
    """
    made: R = _record(record, type(record))
    return made


def _fitting(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _first_fitting(value, arguments)
    if origin is Literal:
        return _only_if(type(value) is str and value in arguments, value)
    if dataclasses.is_dataclass(hint):
        return _record(value, hint)
    if origin is tuple and isinstance(value, tuple):
        return _items(value, arguments)
    if origin is dict and isinstance(value, dict):
        return _entries(value, *arguments)
    if hint in (bool, int, float):  # one is no other, though Python takes it for one
        kinds = (int, float) if hint is float else (hint,)
        return _only_if(type(value) in kinds, value)
    return _only_if(isinstance(value, origin or hint), value)


def _only_if(fits: bool, value: Any) -> Any:
    if not fits:
        raise Unsound
    return value


def _first_fitting(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return _fitting(value, hint)
        except Unsound:
            continue
    raise Unsound


def _record(value: Any, kind: Any) -> Any:
    if kind != type(value):
        raise Unsound
    changed = {}
    for field, hint in _fields(kind):
        held = getattr(value, field.name)
        try:
            made = _fitting(held, hint)
        except Unsound:
            made = _default(field)
        if made is not held:
            changed[field.name] = made
    return dataclasses.replace(value, **changed) if changed else value


@functools.cache
def _fields(kind: type) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return tuple((field, hints[field.name]) for field in fields)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise Unsound


def _items(value: tuple[Any, ...], hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """A record too few is less; a size too few would be another shape."""
    if hints[-1] is not Ellipsis:
        if len(value) != len(hints):
            raise Unsound
        made = [_fitting(item, hint) for item, hint in zip(value, hints)]
    elif dataclasses.is_dataclass(hints[0]):
        made = []
        for item in value:
            try:
                made.append(_fitting(item, hints[0]))
            except Unsound:
                continue
    else:
        made = [_fitting(item, hints[0]) for item in value]
    same = len(made) == len(value) and all(a is b for a, b in zip(made, value))
    return value if same else tuple(made)


def _entries(value: dict[Any, Any], of_keys: Any, of_values: Any) -> dict[Any, Any]:
    made = {}
    for key, item in value.items():
        try:
            made[_fitting(key, of_keys)] = _fitting(item, of_values)
        except Unsound:
            continue
    same = len(made) == len(value) and all(made[key] is value[key] for key in made)
    return value if same else made
