"""Records to tables and back: which fields there are is read off the records."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from shapetrace.records import (
    Diagnosis,
    Figures,
    FunctionCall,
    Held,
    LeftOut,
    ModuleCall,
    ModuleInfo,
    Opaque,
    Recording,
    Script,
    ScriptFrame,
    ScriptObject,
    TensorRef,
)
from shapetrace.views.json.columns import Column, Damage, column_of

#: each of these is one of its own; of all others, those that are equal have one row
_DISTINCT = frozenset(
    {
        *(Recording, ModuleCall, FunctionCall, ModuleInfo, Figures, LeftOut),
        *(Script, ScriptFrame, ScriptObject),
    }
)


def _record_types() -> list[type]:
    """Every kind of record that a document may hold, after those that it refers to."""
    found: dict[type, None] = {}

    def visit(made: type) -> None:
        for annotation in typing.get_type_hints(made).values():
            for inner in _inner(annotation):
                if inner not in found:
                    visit(inner)
        found[made] = None

    # any argument of a function may be one of the first two, any value of a name's too
    for root in (TensorRef, Opaque, Held, Recording, Diagnosis):
        visit(root)
    return list(found)


def _inner(annotation: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _inner(argument)


TYPES = _record_types()
COLUMNS: dict[type, dict[str, Column]] = {
    made: {name: column_of(hint) for name, hint in typing.get_type_hints(made).items()}
    for made in TYPES
}


class Writer:
    """Gives records numbers, a row for each, those that they refer to included."""

    def __init__(self) -> None:
        self._rows: dict[type, list[Any]] = {made: [] for made in TYPES}
        self._numbers: dict[int, int] = {}
        self._shared: dict[Any, int] = {}

    def number(self, record: Any) -> int:
        """The number of the record's row."""
        number = self._numbers.get(id(record))
        return self._add(record) if number is None else number

    def numbers(self, wanted: list[Any]) -> list[int]:
        """The number of each record's row."""
        found = list(map(self._numbers.get, map(id, wanted)))
        return [
            self.number(record) if number is None else number
            for number, record in zip(found, wanted)
        ]

    def _add(self, record: Any) -> int:
        made = type(record)
        rows = self._rows[made]
        number = len(rows)
        if made not in _DISTINCT:
            number = self._shared.setdefault(record, number)
        if number == len(rows):
            rows.append(record)
        self._numbers[id(record)] = number
        return number

    def tables(self) -> dict[str, Any]:
        """All tables, those that others refer to at last."""
        return {
            made.__name__: {
                "rows": len(self._rows[made]),
                "columns": {
                    name: column.write(
                        list(map(attrgetter(name), self._rows[made])), self
                    )
                    for name, column in COLUMNS[made].items()
                },
            }
            for made in reversed(TYPES)
            if self._rows[made]
        }


class Reader:
    """Builds records from tables; raises `Damage` where anything is not as written."""

    def __init__(self, tables: Any) -> None:
        if not isinstance(tables, dict):
            raise Damage("no tables")
        unknown = set(tables) - {made.__name__ for made in TYPES}
        if unknown:
            raise Damage(f"no table is called {min(unknown)!r:.40}")
        self._rows: dict[type, list[Any]] = {}
        for made in TYPES:
            self._rows[made] = self._read(made, tables.get(made.__name__))

    def rows(self, made: type) -> list[Any]:
        return self._rows[made]

    def _read(self, made: type, table: Any) -> list[Any]:
        if table is None:
            return []
        count, given = _parts(made, table)
        # a short text cannot ask for many rows: no two are alike, so that some column
        # is written out
        if not 0 <= count <= max([1, *map(_length, given.values())]):
            raise Damage(f"{made.__name__}: {count} rows")
        values = []
        for field in dataclasses.fields(made):
            if field.name in given:
                column = COLUMNS[made][field.name]
                try:
                    values.append(column.read(given.pop(field.name), count, self.rows))
                except Damage as damage:
                    where = f"{made.__name__}.{field.name}"
                    raise Damage(f"{where}: {damage}") from None
            else:
                values.append(_defaults(made, field, count))
        if given:
            raise Damage(f"{made.__name__} has no field {min(given)!r:.40}")
        return list(map(made, *values))


def _parts(made: type, table: Any) -> tuple[int, dict[str, Any]]:
    match table:
        case {"rows": int(count), "columns": dict(given), **more}:
            if not more and type(count) is int:
                return count, dict(given)
    raise Damage(f"{made.__name__} is no table")


def _length(column: Any) -> int:
    match column:
        case list():
            return len(column)
        case {"at": list(at)}:
            return len(at)
    return 0


def _defaults(made: type, field: dataclasses.Field[Any], count: int) -> list[Any]:
    """A field that came after the file was written."""
    if field.default is not dataclasses.MISSING:
        return [field.default] * count
    if field.default_factory is not dataclasses.MISSING:
        return [field.default_factory() for _ in range(count)]
    raise Damage(f"{made.__name__}.{field.name} is missing")
