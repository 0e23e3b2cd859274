"""The program around one failing call, to be read with one repair after the other."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import NamedTuple

from shapetrace.diagnosis.reading.calls import Repaired, named_arguments
from shapetrace.diagnosis.reading.recorded import Cursor, Recorded
from shapetrace.diagnosis.reading.statements import Ended, Reader, Returned
from shapetrace.diagnosis.reading.values import Conflicting, Frame, Layer, TooLong
from shapetrace.lineage import Call, Graph
from shapetrace.records import FunctionCall, ModuleCall, Source, TensorRef
from shapetrace.source.integers import Inits
from shapetrace.source.scope import Scope, last_name
from shapetrace.source.tree import Home, Tree, node_at
from shapetrace.source.tree import tree as parsed

#: functions that are called by one another at one place only
_CALLERS = 6


class Reading(NamedTuple):
    """How far a program could be read: whether the failing call was met, and what
    behind it was not understood."""

    reached: bool
    missed: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.reached and not self.missed


class Program:
    """What is known of the program that led to a failing call."""

    def __init__(
        self, graph: Graph, call: FunctionCall, layer: ModuleCall | None, inits: Inits
    ) -> None:
        self._graph = graph
        self._inits = inits
        self._failing = layer.name if layer is not None else None
        at: Call = layer or call
        self._recorded = Recorded(graph.rec, at.order if at.index >= 0 else 1 << 60)
        while at.parent is not None:
            at = graph.rec.calls[at.parent]
        found = node_at(at.source)
        self._outermost: tuple[Tree, Home] | None = None
        if found is not None:
            tree, node = found
            self._outermost = tree, _first_caller(tree, tree.home(node))

    def read(
        self,
        repaired: Repaired,
        line: str = "",
        where: Source | None = None,
        result: TensorRef | None = None,
    ) -> Reading:
        """Read the program with `line` in the place of `where`; `result` is what the
        failing call then gives, where its signature does not say. Raises `Conflicting`
        where something behind would not take what it is given."""
        if self._outermost is None:
            return Reading(False)
        tree, home = self._outermost
        pasted = statements_for(line, where) if where is not None and line else {}
        if pasted is None:
            return Reading(False)
        cursor = Cursor(self._recorded, self._since)
        reader = Reader(
            self._graph,
            self._recorded,
            cursor,
            repaired,
            result,
            pasted,
            self._inits,
            self._failing,
        )
        frame = Frame(tree, home, None, None, True)
        frame.names |= {name: repaired.now(ref) for name, ref in self._given.items()}
        frame.names |= self._model
        try:
            if isinstance(home, ast.Lambda):
                reader.value(frame, home.body)
            else:
                reader.block(frame, home.body)
        except (Returned, Ended):
            pass
        except Conflicting:
            if pasted and not reader.met and not repaired.touches:
                return Reading(False)  # the change is not where the reading came by
            raise
        except (TooLong, RecursionError):
            return Reading(False)
        return Reading(reader.ahead, tuple(dict.fromkeys(reader.missed)))

    @cached_property
    def _since(self) -> int:
        """When the last run of a function began, of which there may be several."""
        assert self._outermost is not None
        tree, home = self._outermost
        if isinstance(home, ast.Module):
            return -1
        first, last = home.lineno, home.end_lineno or home.lineno
        calls = [
            (at, calls)
            for at, calls in self._recorded.places(None, tree.file)
            if first <= at[0] and at[2] <= last
        ]
        if not calls:
            return -1
        top = min(at[0] for at, _ in calls)
        return min(some[-1].order for at, some in calls if at[0] == top)

    @cached_property
    def _model(self) -> dict[str, Layer]:
        """The one model of the trace, where the function has it as an argument."""
        assert self._outermost is not None
        rec = self._graph.rec
        if len(rec.roots) != 1 or rec.roots[0] not in rec.modules:
            return {}
        inside = {layer.rpartition(".")[2] for layer in rec.modules}
        found = set()
        for node in ast.walk(self._outermost[1]):
            func = node.func if isinstance(node, ast.Call) else None
            if isinstance(func, ast.Subscript) and isinstance(func.slice, ast.Constant):
                func = func.value if func.slice.value in inside else None
            elif isinstance(func, ast.Attribute):
                func = func.value if func.attr in inside else None
            if isinstance(func, ast.Name):
                found.add(func.id)
        names = {arg.arg for arg in Scope(*self._outermost).parameters()}
        unknown = [name for name in found & names if name not in self._given]
        return {unknown[0]: Layer(rec.roots[0])} if len(unknown) == 1 else {}

    @cached_property
    def _given(self) -> dict[str, TensorRef]:
        """The tensors that the function was given, or that its file holds, by the names
        that it hands them on by."""
        assert self._outermost is not None
        tree, home = self._outermost
        found: dict[str, TensorRef] = {}
        written = {
            node.id
            for node in ast.walk(home)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for _, calls in self._recorded.places(None, tree.file):
            call = next((call for call in calls if call.order >= self._since), None)
            place = node_at(call.source) if call is not None else None
            if call is None or place is None or place[0] is not tree:
                continue
            node = place[1]
            if not isinstance(node, ast.expr) or tree.home(node) is not home:
                continue
            for name, ref in named_arguments(tree, node, call):
                if name not in written:
                    found.setdefault(name, ref)
        return found


def _first_caller(tree: Tree, home: Home) -> Home:
    """The outermost function whose calls of one another stand at one place each."""
    for _ in range(_CALLERS):
        if not isinstance(home, ast.FunctionDef):
            return home
        if isinstance(tree.parents.get(home), ast.ClassDef):
            return home
        name = home.name
        calls = [
            node
            for node in ast.walk(tree.module)
            if isinstance(node, ast.Call) and last_name(node.func) == name
        ]
        if len(calls) != 1:
            return home
        outer = tree.home(calls[0])
        if outer is home:
            return home
        home = outer
    return home


def statements_for(line: str, where: Source) -> dict[ast.stmt, list[ast.stmt]] | None:
    """The statements of a file that a text replaces, each with what comes in its place;
    None where that cannot be told."""
    tree = parsed(where.file)
    if tree is None:
        return None
    first, last = where.line, where.end_line or where.line
    headed: list[ast.stmt] = []
    inside: list[ast.stmt] = []
    for node in ast.walk(tree.module):
        if not isinstance(node, ast.stmt) or not first <= node.lineno <= last:
            continue
        if isinstance(tree.parents.get(node), ast.stmt) and any(
            outer in inside for outer in tree.around(node)
        ):
            continue
        (inside if (node.end_lineno or 0) <= last else headed).append(node)
    try:
        if headed:
            new = ast.parse(f"{line}\n    pass").body
        else:
            new = ast.parse(line).body
    except SyntaxError:
        return None
    if not inside and not headed:
        return None
    found: dict[ast.stmt, list[ast.stmt]] = {}
    if headed:
        old, changed = headed[0], new[-1]
        if not hasattr(changed, "body") or not hasattr(old, "body"):
            return None
        changed.body = old.body
        if hasattr(changed, "orelse"):
            changed.orelse = getattr(old, "orelse", [])
        return {old: new}
    found[inside[0]] = new
    found |= {node: [] for node in inside[1:]}
    return found
