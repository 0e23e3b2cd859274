"""One column for each kind of field: how it is written, read and checked.

The kind follows from the field's annotation. A column is a list of values; where few
values recur, an object: `{"values": [...], "at": [...]}`, or `{"all": value}`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from itertools import chain, islice
from typing import Any, Literal, Protocol

import torch

from shapetrace.views.json.nested import Damage, decode, encode

__all__ = ["Column", "Damage", "column_of", "picked"]

#: what torch itself can count to
_MOST = 2**63 - 1
#: the rows of a kind of record that have been read
Rows = Callable[[type], list[Any]]


class Numbers(Protocol):
    """Gives a record the number of its row."""

    def number(self, record: Any) -> int: ...

    def numbers(self, wanted: list[Any]) -> list[int]: ...


class Column(ABC):
    """How the values of one field are written and read."""

    @abstractmethod
    def write(self, values: list[Any], numbers: Numbers) -> Any: ...

    @abstractmethod
    def read(self, written: Any, count: int, rows: Rows) -> list[Any]: ...


class Plain(Column):
    """Numbers, truths, None: as JSON has them."""

    def __init__(self, allowed: frozenset[type]) -> None:
        self._allowed = allowed

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        if values and values.count(values[0]) == len(values):
            return {"all": values[0]}
        return values

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        values = _counted(written, count)
        kinds = set(map(type, values))
        if not kinds <= self._allowed:
            raise Damage(f"a {min(k.__name__ for k in kinds - self._allowed)}")
        if float in kinds and not all(v is None or abs(v) <= _MOST for v in values):
            raise Damage("a number without an end")
        if int in kinds:
            numbers = [v for v in values if v is not None] if None in values else values
            if max(numbers) > _MOST or min(numbers) < -_MOST:
                raise Damage("a number that nothing has")
        return values


class Recurring(Column):
    """Values of which few recur, each written once.

    `write` makes JSON of one value, `read` makes and checks it again.
    """

    def __init__(self, write: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
        self._write, self._read = write, read

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        known: dict[Hashable, int] = {}
        at = [known.setdefault(value, len(known)) for value in values]
        written = [self._write(value) for value in known]
        return {"all": written[0]} if len(known) == 1 else {"values": written, "at": at}

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        match written:
            case {"all": value, **more} if not more:
                return [self._read(value)] * count
            case {"values": list(values), "at": list(at), **more} if not more:
                made = [self._read(value) for value in values]
                return picked(made, _counted(at, count))
        raise Damage("no column")


class Record(Column):
    """One record, or None: the number of its row."""

    def __init__(self, made: type, optional: bool) -> None:
        self._made, self._optional = made, optional

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        found = iter(numbers.numbers([value for value in values if value is not None]))
        made = [None if value is None else next(found) for value in values]
        same = bool(made) and made.count(made[0]) == len(made)
        return {"all": made[0]} if same else made

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        numbers = _counted(written, count)
        table = rows(self._made)
        if self._optional and None in numbers:
            picked(table, [at for at in numbers if at is not None])
            return [None if at is None else table[at] for at in numbers]
        return picked(table, numbers)


class Records(Column):
    """A tuple of records, or None."""

    def __init__(self, made: type, optional: bool) -> None:
        self._made, self._optional = made, optional

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        found = iter(numbers.numbers(list(chain.from_iterable(filter(None, values)))))
        return [None if v is None else list(islice(found, len(v))) for v in values]

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        lists = _counted(written, count)
        table = rows(self._made)
        allowed = {list, type(None)} if self._optional else {list}
        if not set(map(type, lists)) <= allowed:
            raise Damage("no list of records")
        picked(table, list(chain.from_iterable(filter(None, lists))))
        pick = table.__getitem__
        return [None if one is None else tuple(map(pick, one)) for one in lists]


class Nested(Column):
    """Any value: what a user may pass to a function or write on a module."""

    def __init__(self, made: type) -> None:
        self._made = made

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        number = numbers.number
        if self._made is tuple:
            return [[encode(part, number) for part in value] for value in values]
        return [encode(value, number) for value in values]

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        values = _counted(written, count)
        if self._made is tuple:
            if not set(map(type, values)) <= {list}:
                raise Damage("no list of arguments")
            return [tuple([decode(part, rows) for part in one]) for one in values]
        made = [decode(value, rows) for value in values]
        if self._made is dict and not set(map(type, made)) <= {dict}:
            raise Damage("no arguments by name")
        return made


class Mapping(Column):
    """A dict: a column of its keys and one of its values."""

    def __init__(self, keys: Column, values: Column) -> None:
        self._keys, self._values = keys, values

    def write(self, values: list[Any], numbers: Numbers) -> Any:
        return [
            {
                "size": len(value),
                "keys": self._keys.write(list(value), numbers),
                "values": self._values.write(list(value.values()), numbers),
            }
            for value in values
        ]

    def read(self, written: Any, count: int, rows: Rows) -> list[Any]:
        return [self._one(value, rows) for value in _counted(written, count)]

    def _one(self, written: Any, rows: Rows) -> dict[Any, Any]:
        match written:
            case {"size": int(size), "keys": keys, "values": values}:
                if size > 1 and isinstance(keys, dict) and "all" in keys:
                    raise Damage("one name for many")
                read = self._keys.read(keys, size, rows)
                made = dict(zip(read, self._values.read(values, size, rows)))
                if len(made) == size:
                    return made
        raise Damage("no table of names")


def column_of(annotation: Any) -> Column:
    """The column for a field that is annotated so."""
    optional, bare = _without_none(annotation)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is Literal:
        return Recurring(_same, _one_of(frozenset(arguments)))
    if bare is str:
        return Recurring(_same, _instance(str, optional))
    if bare in (bool, int, float):
        # a whole number is a float's value too, as JSON writes it
        kinds = {bare, int} if bare is float else {bare}
        return Plain(frozenset(kinds | ({type(None)} if optional else set())))
    if bare is torch.dtype or bare is torch.device:
        return Recurring(_written, _dtype if bare is torch.dtype else _device)
    if dataclasses.is_dataclass(bare) and isinstance(bare, type):
        return Record(bare, optional)
    if origin is tuple and isinstance(arguments[0], type):
        if dataclasses.is_dataclass(arguments[0]):
            return Records(arguments[0], optional)
    if origin is tuple and arguments[0] in (int, str):
        length = None if arguments[-1] is Ellipsis else len(arguments)
        return Recurring(list, _flat(arguments[0], length))
    if bare == tuple[Any, ...] or bare == dict[str, Any] or bare is Any:
        return Nested(origin or object)
    if origin is dict:
        return Mapping(*map(column_of, arguments))
    raise TypeError(f"no column is known for {annotation!r}")


def _without_none(annotation: Any) -> tuple[bool, Any]:
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return False, annotation
    kept = [a for a in typing.get_args(annotation) if a is not type(None)]
    if len(kept) != 1:
        raise TypeError(f"no column is known for {annotation!r}")
    return True, kept[0]


# -- the parts of a column ---------------------------------------------------------


def _counted(written: Any, count: int) -> list[Any]:
    """The column as a list, if it is one of that length."""
    match written:
        case {"all": value, **more} if not more:
            return [value] * count
        case list() if len(written) == count:
            return written
    raise Damage(f"no column of {count}")


def picked(table: list[Any], numbers: Any) -> list[Any]:
    """The rows of these numbers."""
    if type(numbers) is not list:
        raise Damage("no list of rows")
    if numbers:
        if set(map(type, numbers)) != {int}:
            raise Damage("a row that is no number")
        if min(numbers) < 0 or max(numbers) >= len(table):
            raise Damage("a row that is not there")
    return list(map(table.__getitem__, numbers))


def _same(value: Any) -> Any:
    return value


def _instance(made: type, optional: bool) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is made or (optional and value is None):
            return value
        raise Damage(f"{type(value).__name__} instead of {made.__name__}")

    return read


def _one_of(allowed: frozenset[str]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, str) and value in allowed:
            return value
        raise Damage(f"{value!r:.40} is not among {sorted(allowed)}")

    return read


def _flat(kind: type, length: int | None) -> Callable[[Any], tuple[Any, ...]]:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or not all(type(part) is kind for part in value):
            raise Damage(f"no list of {kind.__name__}")
        if length is not None and len(value) != length:
            raise Damage(f"not {length} of {kind.__name__}")
        if kind is int and not all(-_MOST <= part <= _MOST for part in value):
            raise Damage("a number that nothing has")
        return tuple(value)

    return read


def _written(constant: torch.dtype | torch.device) -> str:
    return str(constant).removeprefix("torch.")


def _dtype(name: Any) -> torch.dtype:
    from shapetrace.views.json.nested import constant

    made: torch.dtype = constant("dtype", name)
    return made


def _device(name: Any) -> torch.device:
    from shapetrace.views.json.nested import device

    return device(name)
