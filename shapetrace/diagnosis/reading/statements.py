"""Reads the statements of the user's code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.builtins import items
from shapetrace.diagnosis.reading.expressions import Expressions, truth
from shapetrace.diagnosis.reading.recorded import Cursor, Recorded, Repaired
from shapetrace.diagnosis.reading.remembered import Remembered
from shapetrace.diagnosis.reading.rounds import is_beyond
from shapetrace.diagnosis.reading.values import (
    UNKNOWN,
    Conflicting,
    Frame,
    Instance,
    Layer,
    Library,
    Open,
    Routine,
)
from shapetrace.lineage import Graph
from shapetrace.records import TensorRef
from shapetrace.source.integers import Inits

_ROUNDS = 64
_LEAVES = (ast.Return, ast.Raise, ast.Break, ast.Continue)


class Returned(Exception):
    """A `return` was read."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Raised(Returned):
    """A `raise` was read."""


class Ended(Exception):
    """The traced block was read to its end."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Reader(Expressions):
    """One reading of a program. `pasted` are statements and what is written in their
    place."""

    def __init__(
        self,
        graph: Graph,
        recorded: Recorded,
        cursor: Cursor,
        repaired: Repaired,
        result: TensorRef | None,
        pasted: Mapping[ast.stmt, list[ast.stmt]],
        inits: Inits,
        failing: str | None,
    ) -> None:
        super().__init__(graph, recorded, cursor, repaired, result, failing)
        #: whether a pasted statement was come to
        self.met = False
        self.pasted = pasted
        self.inits = inits
        self.remembered = Remembered(graph.rec, repaired.now)
        self._imported = {}
        self._written = {}
        #: branches around of which it is not known whether they are taken
        self._unsure = 0

    def body(self, frame: Frame, body: list[ast.stmt]) -> Any:
        """A function's body: what it returns."""
        try:
            self.block(frame, body)
        except Returned as returned:
            return returned.value
        return None

    def block(self, frame: Frame, body: list[ast.stmt]) -> None:
        for statement in body:
            self.count()
            instead = self.pasted.get(statement)
            if instead is None or frame.original is not None:
                self.statement(frame, statement)
            else:
                self._changed(frame, statement, instead)

    def statement(self, frame: Frame, node: ast.stmt) -> None:
        read = _READERS.get(type(node))
        if read is not None:
            read(self, frame, node)

    def lambda_body(self, frame: Frame, home: ast.Lambda) -> Any:
        """What a lambda gives, as it is written in a pasted statement."""
        for old, instead in self.pasted.items():
            then = [node for node in ast.walk(old) if isinstance(node, ast.Lambda)]
            now = [
                node
                for each in instead
                for node in ast.walk(each)
                if isinstance(node, ast.Lambda)
            ]
            if home in then and len(then) == len(now):
                frame.original, self.met, self.ahead = old, True, True
                return self.value(frame, now[then.index(home)].body)
        return self.value(frame, home.body)

    def _changed(
        self, frame: Frame, statement: ast.stmt, instead: list[ast.stmt]
    ) -> None:
        """What is pasted in place of a statement."""
        self.met = True
        before = {}
        for node in _own(statement) if frame.live else ():
            call = self.cursor.peek(frame.parent, frame.tree.file, node)
            if call is not None:
                before[node] = call
                self.ahead = self.ahead or call.outputs is None
        frame.original = statement
        try:
            for each in instead:
                self.statement(frame, each)
        finally:
            frame.original = None
            for node, call in before.items():
                if self.cursor.peek(frame.parent, frame.tree.file, node) is call:
                    self.cursor.take(frame.parent, frame.tree.file, node)

    # -- assignments ------------------------------------------------------------------

    def assignment(self, frame: Frame, node: ast.Assign) -> None:
        value = self.value(frame, node.value)
        for target in node.targets:
            self.assign(frame, target, value)

    def annotated(self, frame: Frame, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(frame, node.target, self.value(frame, node.value))

    def augmented(self, frame: Frame, node: ast.AugAssign) -> None:
        call = self.recorded_call(frame, node)
        left = self.value(frame, _read_of(node.target))
        right = self.value(frame, node.value)
        if isinstance(left, list) and isinstance(right, (list, tuple)):
            left += right
            return
        found = self.operated(frame, call, type(node.op), left, right, node)
        if isinstance(left, TensorRef) and isinstance(found, TensorRef):
            if left.shape != found.shape and not isinstance(node.op, ast.MatMult):
                text = f"then line {node.lineno} adds {found.shape} into {left.shape}"
                raise Conflicting(text)
        self.assign(frame, node.target, found)

    def assign(self, frame: Frame, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            frame.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(frame, target, value)
        elif isinstance(target, ast.Attribute):
            of = self.value(frame, target.value)
            if isinstance(of, Layer):
                self._written[of.name, target.attr] = value
            elif isinstance(of, Instance):
                of.names[target.attr] = value
        elif isinstance(target, ast.Subscript):
            self._put(frame, target, value)
        elif isinstance(target, ast.Starred):
            self.assign(frame, target.value, value)

    def _unpack(self, frame: Frame, target: ast.Tuple | ast.List, value: Any) -> None:
        wanted = len(target.elts)
        stars = [n for n, e in enumerate(target.elts) if isinstance(e, ast.Starred)]
        values = items(value, self.children)
        if values is None:
            values = [UNKNOWN] * wanted
        elif stars:
            at, more = stars[0], len(values) - wanted + 1
            values = [*values[:at], values[at : at + more], *values[at + more :]]
        if isinstance(value, Open) and len(values) < wanted:
            values = [*values, *[UNKNOWN] * (wanted - len(values))]
        if len(values) != wanted:
            if self.ahead and not isinstance(value, Open):
                text = f"{wanted} names are given {len(values)} values"
                raise Conflicting(f"then at line {target.lineno} {text}")
            values = [UNKNOWN] * wanted
        for each, one in zip(target.elts, values, strict=True):
            self.assign(frame, each, one)

    def _put(self, frame: Frame, target: ast.Subscript, value: Any) -> None:
        call = self.recorded_call(frame, target)
        of, index = self.value(frame, target.value), self.value(frame, target.slice)
        if isinstance(of, dict) and isinstance(index, (int, str)):
            of[index] = value
        elif isinstance(of, list) and isinstance(index, int):
            if -len(of) <= index < len(of):
                of[index] = value
        elif isinstance(of, TensorRef) and call is None and self.ahead:
            qualname = "torch.Tensor.__setitem__"
            given = [of, index, value]
            functions.function("setitem", qualname, given, {}, target.lineno)

    # -- the flow ---------------------------------------------------------------------

    def expression(self, frame: Frame, node: ast.Expr) -> None:
        self.value(frame, node.value)

    def returned(self, frame: Frame, node: ast.Return) -> None:
        value = None if node.value is None else self.value(frame, node.value)
        raise Returned(value)

    def branch(self, frame: Frame, node: ast.If) -> None:
        true = truth(self.value(frame, node.test))
        if true is not None:
            self.block(frame, node.body if true else node.orelse)
            return
        if frame.live:
            for body in (node.body, node.orelse):
                if self.cursor.any_left(frame.parent, frame.tree.file, body):
                    self.block(frame, body)
                    return
            for body, other in ((node.body, node.orelse), (node.orelse, node.body)):
                if (
                    body
                    and isinstance(body[-1], _LEAVES)
                    and self._goes_on(frame, node)
                ):
                    self.block(frame, other)
                    return
        self._either(frame, node)

    def _goes_on(self, frame: Frame, node: ast.If) -> bool:
        """Whether calls behind a statement, in the same function, were recorded."""
        file, home = frame.tree.file, frame.home
        last = 1 << 30 if isinstance(home, ast.Module) else home.end_lineno or 0
        after = (node.end_lineno or node.lineno) + 1
        return self.cursor.left_between(frame.parent, file, after, last)

    def _either(self, frame: Frame, node: ast.If) -> None:
        """Both ways: what they make different is not known behind them."""
        names: list[dict[str, Any]] = []
        ended: list[Exception] = []
        self._unsure += 1
        for body in (node.body, node.orelse):
            inner = Frame(
                frame.tree,
                frame.home,
                frame.owner,
                frame.parent,
                frame.live,
                dict(frame.names),
            )
            try:
                self.block(inner, body)
            except _Raised:
                continue  # the program went on, or would be stopped by its own word
            except (Returned, _Break, _Continue) as left:
                ended.append(left)
                continue
            except Conflicting:  # whether it comes to that is not known
                self.miss(node, "a branch")
            names.append(inner.names)
        self._unsure -= 1
        if not names and not ended:
            raise _Raised(UNKNOWN)
        if ended:
            self.miss(node, "a branch that leaves")
        if not names:
            raise ended[0] if not isinstance(ended[0], Returned) else Returned(UNKNOWN)
        first, last = names[0], names[-1]
        frame.names = {
            key: first[key] if first[key] == last[key] else UNKNOWN
            for key in first
            if key in last
        }

    def loop(self, frame: Frame, node: ast.For | ast.AsyncFor) -> None:
        for one in self.runs_through(frame, node.iter, [*node.body]):
            beyond = self.ahead and is_beyond(self.cursor, frame, node.body, one)
            self.beyond += beyond
            try:
                self.assign(frame, node.target, one)
                if not self._round(frame, node.body):
                    return
            finally:
                self.beyond -= beyond
        self.block(frame, node.orelse)

    def repetition(self, frame: Frame, node: ast.While) -> None:
        for _ in range(_ROUNDS):
            true = truth(self.value(frame, node.test))
            if true is None:
                left = frame.live and self.cursor.any_left(
                    frame.parent, frame.tree.file, node.body
                )
                true = bool(left)
                if not true:
                    self.miss(node, "while")
            if not true or not self._round(frame, node.body):
                return

    def _round(self, frame: Frame, body: list[ast.stmt]) -> bool:
        try:
            self.block(frame, body)
        except _Continue:
            pass
        except _Break:
            return False
        return True

    def within(self, frame: Frame, node: ast.With | ast.AsyncWith) -> None:
        traced = False
        for item in node.items:
            entered = item.context_expr
            called = entered.func if isinstance(entered, ast.Call) else entered
            held = self.value(frame, called)
            if isinstance(held, Library) and held.name.startswith("shapetrace."):
                traced = True
                self.entered(frame, entered)
            if item.optional_vars is not None:
                self.assign(frame, item.optional_vars, UNKNOWN)
        self.block(frame, node.body)
        if traced and self.ahead:
            raise Ended

    def attempt(self, frame: Frame, node: ast.Try) -> None:
        self.block(frame, node.body)
        self.block(frame, node.orelse)
        self.block(frame, node.finalbody)

    def asserted(self, frame: Frame, node: ast.Assert) -> None:
        if truth(self.value(frame, node.test)) is False and self.ahead:
            raise Conflicting(f"then the assertion at line {node.lineno} fails")

    def raised(self, frame: Frame, node: ast.Raise) -> None:
        if self.ahead and not self._unsure:
            raise Conflicting(f"then line {node.lineno} raises")
        raise _Raised(UNKNOWN)

    def broken(self, frame: Frame, node: ast.Break) -> None:
        raise _Break

    def continued(self, frame: Frame, node: ast.Continue) -> None:
        raise _Continue

    def defined(self, frame: Frame, node: ast.FunctionDef) -> None:
        if frame.home is not frame.tree.module:
            frame.names[node.name] = Routine(frame.tree, node, None, frame)


_READERS: dict[type[ast.stmt], Callable[[Any, Frame, Any], None]] = {
    ast.Assign: Reader.assignment,
    ast.AnnAssign: Reader.annotated,
    ast.AugAssign: Reader.augmented,
    ast.Expr: Reader.expression,
    ast.Return: Reader.returned,
    ast.If: Reader.branch,
    ast.For: Reader.loop,
    ast.AsyncFor: Reader.loop,
    ast.While: Reader.repetition,
    ast.With: Reader.within,
    ast.AsyncWith: Reader.within,
    ast.Try: Reader.attempt,
    ast.Assert: Reader.asserted,
    ast.Raise: Reader.raised,
    ast.Break: Reader.broken,
    ast.Continue: Reader.continued,
    ast.FunctionDef: Reader.defined,
}


def _own(statement: ast.stmt) -> list[ast.AST]:
    """The expressions of a statement, without the statements in it."""
    found: list[ast.AST] = [statement] if isinstance(statement, ast.AugAssign) else []
    todo: list[ast.AST] = [statement]
    while todo:
        for child in ast.iter_child_nodes(todo.pop()):
            if isinstance(child, ast.stmt):
                continue
            if isinstance(child, ast.expr):
                found.append(child)
            todo.append(child)
    return found


def _read_of(target: ast.expr) -> ast.expr:
    """What `x += y` reads: its target."""
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target
