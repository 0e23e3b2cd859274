"""What was recorded, for whoever reads the code: the calls in the order in which
reading comes to them, and tensors as the repaired program has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from shapetrace.diagnosis.reading.values import KEYWORDS, UNKNOWN
from shapetrace.lineage import Call
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Recording,
    TensorRef,
)
from shapetrace.signatures import is_method
from shapetrace.source.library_calls import called_around
from shapetrace.source.line import Line
from shapetrace.source.rewrite import Span, span
from shapetrace.source.tree import Tree, is_own_file, last_name, node_at, tree

Key = tuple[int | None, str, Span]

#: the path of a tensor that was given by name
_KEYWORD = re.compile(r"kwargs\['(\w+)'\]")


class Repaired(Protocol):
    """The recorded tensors and modules as the repaired program has them."""

    #: whether the text that is read lacks the repair
    unwritten: bool

    @property
    def touches(self) -> bool:
        """Whether tensors from outside or modules are others."""

    def now(self, ref: TensorRef) -> TensorRef: ...

    def module(self, name: str) -> ModuleInfo | None: ...


class Recorded:
    """The calls by the module call around them and the place where they stand."""

    def __init__(self, rec: Recording, until: int) -> None:
        self._calls: dict[Key, list[Call]] = {}
        self._dumps: dict[Any, dict[str, ast.AST]] = {}
        #: what names stand for by the text alone, by where they are read
        self.definitions: dict[Any, Any] = {}
        calls: list[Call] = [*rec.calls, *rec.functions]
        for call in sorted(calls, key=lambda call: call.order):
            place = call.source
            if call.order > until or call.outputs == () or place is None:
                continue
            if isinstance(call, FunctionCall) and call.index < 0:
                continue
            if place.column is None or place.end_column is None:
                continue
            end = place.end_line or place.line
            at = (place.line, place.column, end, place.end_column)
            self._calls.setdefault((call.parent, place.file, at), []).append(call)
        for key, found in self._calls.items():
            if isinstance(found[0], FunctionCall):
                found = self._calls[key] = _of_expression(found)
                if len(found) > 1:
                    self._calls[key] = _as_written(found)
        self._parents = [call.parent for call in rec.calls]
        self._children = {(call.parent, call.name): call for call in rec.calls}

    def classes_named(self, name: str) -> list[tuple[Tree, ast.ClassDef]]:
        """The class of that name in the files of the recording: of a module that has no
        `__init__` of its own, so that no place of it is known."""
        return self._classes.get(name, [])[-1:]

    @cached_property
    def _classes(self) -> dict[str, list[tuple[Tree, ast.ClassDef]]]:
        found: dict[str, list[tuple[Tree, ast.ClassDef]]] = {}
        for file in dict.fromkeys(key[1] for key in self._calls):
            whole = tree(file) if is_own_file(file) else None
            for node in whole.nodes if whole is not None else ():
                if whole is not None and isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append((whole, node))
        return found

    def same_in(self, original: ast.AST, node: ast.AST) -> ast.AST | None:
        """The expression of another statement that reads the same."""
        key = original, type(node)
        if key not in self._dumps:
            found: dict[str, ast.AST] = {}
            for other in ast.walk(original):
                if type(other) is type(node):
                    found.setdefault(ast.dump(other), other)
            self._dumps[key] = found
        return self._dumps[key].get(ast.dump(node))

    def child(self, parent: int, name: str) -> ModuleCall | None:
        """The call of a module within another's."""
        return self._children.get((parent, name))

    def keys(self, parent: int | None, file: str, node: ast.AST) -> Iterable[Key]:
        """Where Python says that an expression stands."""
        here = span(node)
        yield parent, file, here
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # of a chain over several lines it is the method's name
            name = node.func
            line, column = name.end_lineno or 0, name.end_col_offset or 0
            start = (line, column - len(name.attr.encode()))
            yield parent, file, (*start, *here[2:])

    def calls(self, key: Key) -> list[Call]:
        return self._calls.get(key, [])

    def modules_at(self, file: str, first: int, last: int) -> set[int]:
        """The module calls in which something on these lines ran."""
        found: set[int] = set()
        for (parent, where, at), _ in self._calls.items():
            if where != file or not (first <= at[0] and at[2] <= last):
                continue
            while parent is not None and parent not in found:
                found.add(parent)
                parent = self._parents[parent]
        return found

    def within(self, parent: int | None) -> list[Key]:
        return [key for key in self._calls if key[0] == parent]

    def places(self, parent: int | None, file: str) -> list[tuple[Span, list[Call]]]:
        """All places of one module call in a file."""
        return [
            (key[2], calls)
            for key, calls in self._calls.items()
            if key[:2] == (parent, file)
        ]


def _of_expression(calls: list[Call]) -> list[Call]:
    """Without those that a loop makes as it goes on: since Python 3.12 they stand where
    what it goes over does, as those of a loader that stacks samples."""
    found = node_at(calls[0].source)
    if found is None:
        return calls
    whole, node = found
    loop = whole.parents.get(node)
    if not (isinstance(loop, ast.For) and loop.iter is node):
        return calls
    if isinstance(node, ast.Name):
        return []
    if not isinstance(node, ast.Call) or len({call.name for call in calls}) == 1:
        return calls
    return [call for call in calls if call.name == last_name(node.func)]


def _as_written(calls: list[Call]) -> list[Call]:
    """The calls of one expression: where it calls a function of torch's that is written
    in Python, what that called within itself is one call each time."""
    names = []
    for call in calls:
        written = called_around(call) if isinstance(call, FunctionCall) else None
        if written is None or call.outputs is None:
            return calls
        names.append(call.name)
    each = next(
        n
        for n in range(1, len(names) + 1)
        if len(names) % n == 0 and names[:n] * (len(names) // n) == names
    )
    return [_joined(calls[at : at + each]) for at in range(0, len(calls), each)]


def _joined(calls: list[Call]) -> Call:
    """Calls within one function: what it was given, and what the last one gave."""
    inside = {ref.id for call in calls for ref in call.outputs or ()}
    given = [ref for call in calls for ref in call.inputs if ref.id not in inside]
    return replace(calls[-1], inputs=tuple(dict.fromkeys(given)))


class Cursor:
    """How far the recorded calls were read."""

    def __init__(self, recorded: Recorded, since: int = -1) -> None:
        self._recorded = recorded
        self._since = since
        self._at: dict[Key, int] = {}

    def peek(self, parent: int | None, file: str, node: ast.AST) -> Call | None:
        """The call that an expression makes next."""
        for key in self._recorded.keys(parent, file, node):
            calls = self._left(key)
            if calls:
                return calls[0]
        return None

    def take(self, parent: int | None, file: str, node: ast.AST) -> Call | None:
        for key in self._recorded.keys(parent, file, node):
            calls = self._left(key)
            if calls:
                self._at[key] = self._at.get(key, 0) + 1
                return calls[0]
        return None

    def following(self, parent: int | None) -> Call | None:
        """The next call of all that stand in one module call."""
        left = [
            calls[0]
            for key in self._recorded.within(parent)
            if (calls := self._left(key))
        ]
        return min(left, key=lambda call: call.order, default=None)

    def any_left(self, parent: int | None, file: str, nodes: Iterable[ast.AST]) -> bool:
        """Whether calls inside of these statements were recorded and not read yet."""
        reach = [span(node) for node in nodes]
        if not reach:
            return False
        first, last = reach[0][0], max(one[2] for one in reach)
        return self.left_between(parent, file, first, last)

    def left_between(
        self, parent: int | None, file: str, first: int, last: int
    ) -> bool:
        return any(
            first <= at[0] and at[2] <= last and self._left((parent, file, at))
            for at, _ in self._recorded.places(parent, file)
        )

    def _left(self, key: Key) -> list[Call]:
        calls = self._recorded.calls(key)
        if key[0] is None and self._since >= 0:
            calls = [call for call in calls if call.order >= self._since]
        return calls[self._at.get(key, 0) :]


def named_arguments(
    tree: Tree, node: ast.expr, call: Call
) -> Iterator[tuple[str, TensorRef]]:
    """The tensors that a recorded call was given by a name."""
    assert call.source is not None
    line = Line(call.source, tree, node, node)
    method = isinstance(call, FunctionCall) and is_method(call)
    for ref in call.inputs:
        at = line.argument(ref.path, method)
        if isinstance(at, ast.Name):
            yield at.id, ref


def filled_keywords(
    given: Mapping[str, TensorRef], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Keywords with what was recorded, by its path, of those that are not known."""
    if KEYWORDS in kwargs:
        names = map(_KEYWORD.fullmatch, given)
        found = {name[1]: given[name[0]] for name in names if name is not None}
        kwargs = found | kwargs
        if found:  # a batch; what else such a dict holds is mostly nothing
            del kwargs[KEYWORDS]
    return {
        key: given.get(f"kwargs['{key}']", UNKNOWN) if value is UNKNOWN else value
        for key, value in kwargs.items()
    }
