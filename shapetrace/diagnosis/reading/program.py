"""The program around one failing call, to be read with one repair after the other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from shapetrace.diagnosis.reading.recorded import (
    Cursor,
    Recorded,
    Repaired,
    named_arguments,
)
from shapetrace.diagnosis.reading.statements import Ended, Reader, Returned
from shapetrace.diagnosis.reading.values import Conflicting, Frame, Layer, TooLong
from shapetrace.lineage import Call, Graph
from shapetrace.records import (
    FunctionCall,
    Held,
    ModuleCall,
    Script,
    Source,
    TensorRef,
)
from shapetrace.source.integers import Inits
from shapetrace.source.scope import Scope, defined_at
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


class Start:
    """A function from whose beginning the program may be read. `partial`: it is called
    at several places, and what they do with its result is not read. `within` is the
    module call whose forward it is, or that is around it."""

    def __init__(
        self,
        graph: Graph,
        recorded: Recorded,
        tree: Tree,
        home: Home,
        partial: bool,
        within: ModuleCall | None = None,
    ) -> None:
        self.tree = tree
        self.home = home
        self.partial = partial
        self.owner = within.name if within is not None else None
        self.parent = within.index if within is not None else None
        self._graph = graph
        self._recorded = recorded

    @cached_property
    def since(self) -> int:
        """When the last run of a function began, of which there may be several."""
        tree, home = self.tree, self.home
        if isinstance(home, ast.Module):
            return -1
        first, last = home.lineno, home.end_lineno or home.lineno
        calls = [
            (at, calls)
            for at, calls in self._recorded.places(self.parent, tree.file)
            if first <= at[0] and at[2] <= last
        ]
        if not calls:
            return -1
        top = min(at[0] for at, _ in calls)
        return min(some[-1].order for at, some in calls if at[0] == top)

    @cached_property
    def model(self) -> dict[str, Layer]:
        """The one model of the trace, where the function has it as an argument."""
        rec = self._graph.rec
        if len(rec.roots) != 1 or rec.roots[0] not in rec.modules:
            return {}
        if any(one.name == rec.roots[0] for one in rec.calls):
            return {}  # where it is called, its name is seen
        inside = {layer.rpartition(".")[2] for layer in rec.modules}
        found = set()
        for node in ast.walk(self.home):
            func = node.func if isinstance(node, ast.Call) else None
            if isinstance(func, ast.Subscript) and isinstance(func.slice, ast.Constant):
                func = func.value if func.slice.value in inside else None
            elif isinstance(func, ast.Attribute):
                func = func.value if func.attr in inside else None
            if isinstance(func, ast.Name):
                found.add(func.id)
        names = {arg.arg for arg in Scope(self.tree, self.home).parameters()}
        unknown = [name for name in found & names if name not in self.given]
        return {unknown[0]: Layer(rec.roots[0])} if len(unknown) == 1 else {}

    @cached_property
    def given(self) -> dict[str, TensorRef]:
        """The tensors that the function was given, or that its file holds, by the names
        that it hands them on by."""
        tree, home = self.tree, self.home
        found: dict[str, TensorRef] = {}
        written = {
            node.id
            for node in ast.walk(home)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for _, calls in self._recorded.places(self.parent, tree.file):
            call = next((call for call in calls if call.order >= self.since), None)
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


class Program:
    """What is known of the program that led to a failing call."""

    def __init__(
        self, graph: Graph, call: FunctionCall, layer: ModuleCall | None, inits: Inits
    ) -> None:
        self._graph = graph
        self._inits = inits
        self._failing = layer.name if layer is not None else None
        at: Call = layer or call
        order = at.order if at.index >= 0 else 1 << 60
        self._recorded = Recorded(graph.rec, order)
        while at.parent is not None:
            at = graph.rec.calls[at.parent]
        roots = [
            one for one in graph.rec.calls if one.parent is None and one.order < order
        ]
        self._starts: list[Start] = []
        # a loss that is no module of the trace is called where the model is
        for top in (*roots[-1:], at):
            found = node_at(top.source)
            if found is None:
                continue
            tree, home, partial = _first_caller(*found)
            if all(home is not other.home for other in self._starts):
                start = Start(graph, self._recorded, tree, home, partial)
                self._starts.append(start)
        self._starts += self._at_work()

    def _at_work(self) -> Iterator[Start]:
        """The functions that the exception went through, the outermost first: where a
        generator or a library calls one, the code around does not lead to it."""
        script = self._graph.rec.script
        known = [one.home for one in self._starts]
        around: ModuleCall | None = None
        for frame in script.frames if script is not None else ():
            found = defined_at(frame.source)
            own = Scope(*found).self_name() if found is not None else ""
            held = frame.values.get(own)
            if script is not None and isinstance(held, Held):
                around = self._open(script, held) or around
            if found is not None and all(found[1] is not home for home in known):
                yield Start(self._graph, self._recorded, *found, True, around)

    def _open(self, script: Script, held: Held) -> ModuleCall | None:
        """The call of a module that did not come to its end."""
        objects = script.objects
        one = objects[held.number] if 0 <= held.number < len(objects) else None
        if one is None or one.kind != "module":
            return None
        calls = [call for call in self._graph.rec.calls if call.name == one.name]
        return calls[-1] if calls and calls[-1].outputs is None else None

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
        pasted = statements_for(line, where) if where is not None and line else {}
        if pasted is None:
            return Reading(False)
        inside: set[int] = set()
        if pasted and where is not None:
            last = where.end_line or where.line
            inside = self._recorded.modules_at(where.file, where.line, last)
        for start in self._starts:
            reader = Reader(
                self._graph,
                self._recorded,
                Cursor(self._recorded, start.since),
                repaired,
                result,
                pasted,
                self._inits,
                self._failing,
            )
            reader.changed_in = inside
            try:
                _read_from(start, reader, repaired)
            except Conflicting:
                if reader.met or reader.ahead or repaired.touches:
                    raise
                continue  # the change is not where the reading came by
            if reader.ahead:
                return Reading(True, tuple(dict.fromkeys(reader.missed)))
        return Reading(False)


def _read_from(start: Start, reader: Reader, repaired: Repaired) -> None:
    frame = Frame(start.tree, start.home, start.owner, start.parent, True)
    frame.names |= {name: repaired.now(ref) for name, ref in start.given.items()}
    frame.names |= start.model
    try:
        if isinstance(start.home, ast.Lambda):
            reader.lambda_body(frame, start.home)
        else:
            reader.block(frame, start.home.body)
    except (Returned, Ended):
        pass
    except (TooLong, RecursionError):
        reader.ahead = False
    if start.partial:
        reader.missed.append("what calls it")


def _first_caller(tree: Tree, node: ast.expr | ast.stmt) -> tuple[Tree, Home, bool]:
    """The outermost function around an expression whose calls of one another stand at
    one place each, and whether it is called at several."""
    home = tree.home(node)
    for _ in range(_CALLERS):
        if not isinstance(home, ast.FunctionDef):
            return tree, home, False
        name = home.name
        if isinstance(tree.parents.get(home), ast.ClassDef):
            # what calls a method goes on with what it returns
            given = isinstance(tree.statement(node), ast.Return) and any(
                isinstance(one.func, ast.Attribute)
                and tree.text(one.func.value) == "self"
                for one in tree.calls.get(name, ())
            )
            return tree, home, given or name in ("forward", "__call__")
        calls = [
            node
            for node in tree.calls.get(name, ())
            if isinstance(node.func, ast.Name)
            and tree.function(name, tree.home(node)) is home
        ]
        if len(calls) != 1:
            return tree, home, bool(calls)
        outer = tree.home(calls[0])
        if outer is home:
            return tree, home, False
        home = outer
    return tree, home, False


def statements_for(line: str, where: Source) -> dict[ast.stmt, list[ast.stmt]] | None:
    """The statements of a file that a text replaces, each with what comes in its place;
    None where that cannot be told."""
    tree = parsed(where.file)
    if tree is None:
        return None
    first, last = where.line, where.end_line or where.line
    headed: list[ast.stmt] = []
    inside: list[ast.stmt] = []
    for node in tree.statements:
        if not first <= node.lineno <= last:
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
    for node in new:
        ast.increment_lineno(node, first - 1)
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
