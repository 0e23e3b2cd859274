"""What the recording remembers of the values in the user's code: of the functions that
the exception went through, of their files, and of what modules hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from typing import Any

from shapetrace.diagnosis.reading.values import (
    UNKNOWN,
    Built,
    Instance,
    Kind,
    Layer,
    Library,
    Routine,
)
from shapetrace.records import (
    Held,
    ModuleInfo,
    Opaque,
    Recording,
    Script,
    ScriptObject,
    Source,
    TensorRef,
)
from shapetrace.source.scope import Scope, bound, defined_at
from shapetrace.source.tree import Home, Tree, is_own
from shapetrace.source.tree import tree as parsed


class Remembered:
    """Values as the repaired program has them: `now` says it of a tensor."""

    def __init__(self, rec: Recording, now: Callable[[TensorRef], TensorRef]) -> None:
        self._rec = rec
        self._script = rec.script or Script()
        self._now = now
        self._frames = {
            (one.source.file, one.source.line): one.values
            for one in self._script.frames
        }
        self._made: dict[int, Any] = {}

    def names(self, tree: Tree, home: Home) -> dict[str, Any]:
        """What the names of a function stood for at the failing call."""
        values = self._frames.get((tree.file, _first_line(home)), {})
        return {name: self.restored(value) for name, value in values.items()}

    def name(self, tree: Tree, home: Home, name: str) -> Any:
        """What a name stands for at any time, where it is given a value once. Numbers
        that a loop gives it may have been others before."""
        values = self._frames.get((tree.file, _first_line(home)), {})
        if name not in values:
            if isinstance(home, ast.Module):
                return UNKNOWN
            return self.name(tree, tree.home(home), name)
        ways = bound(Scope(tree, home), name)
        if len(ways) > 1 or ways and ways[0].partial and _is_number(values[name]):
            return UNKNOWN
        return self.restored(values[name])

    def attribute(self, owner: str, name: str) -> Any:
        """What a module held under a name."""
        values = self._script.attributes.get(owner, {})
        return self.restored(values[name]) if name in values else UNKNOWN

    def restored(self, value: Any) -> Any:
        """A recorded value as one that is read."""
        if isinstance(value, TensorRef):
            return self._now(value)
        if isinstance(value, Opaque):
            return UNKNOWN
        if isinstance(value, Held):
            return self._object(value.number)
        if type(value) in (list, tuple):
            return type(value)(map(self.restored, value))
        if type(value) is dict:
            return {key: self.restored(part) for key, part in value.items()}
        return value

    def _object(self, number: int) -> Any:
        if number not in self._made:
            objects = self._script.objects
            known = objects[number] if 0 <= number < len(objects) else None
            self._made[number] = UNKNOWN  # it may hold itself
            if known is not None:
                self._made[number] = self._built(number, known)
        return self._made[number]

    def _built(self, number: int, one: ScriptObject) -> Any:
        last = one.name.rpartition(".")[2]
        if one.kind == "module":
            return Layer(one.name) if one.name in self._rec.modules else UNKNOWN
        if one.kind == "layer":
            return Built(ModuleInfo("", last, one.name, attributes=one.values))
        if one.kind == "function":
            found = defined_at(one.source) if one.source is not None else None
            if found is not None:
                return Routine(*found)
            home = one.name.partition(".")[0]
            return Library(one.name) if home in sys.modules else UNKNOWN
        kind = _class(one.source, last) if is_own(one.source) else None
        if kind is None:
            return {key: self.restored(part) for key, part in one.values.items()}
        made = self._made[number] = Instance(kind)
        made.names |= {key: self.restored(part) for key, part in one.values.items()}
        return made


def _first_line(home: Home) -> int:
    """Where Python says that a function begins, its decorators included."""
    if isinstance(home, ast.Module):
        return 0
    decorators: list[ast.expr] = getattr(home, "decorator_list", [])
    return min([home.lineno, *(each.lineno for each in decorators)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | str)


def _class(source: Source | None, name: str) -> Kind | None:
    """The definition of a class, by its name and any line of its file."""
    tree = parsed(source.file) if source is not None else None
    if tree is None:
        return None
    found = [
        node
        for node in tree.statements
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return Kind(tree, found[-1]) if found else None
