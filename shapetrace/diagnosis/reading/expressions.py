"""Reads the expressions of the user's code."""

from __future__ import annotations

import ast
import operator
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import torch

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.builtins import items
from shapetrace.diagnosis.reading.names import Names
from shapetrace.diagnosis.reading.values import (
    UNKNOWN,
    Built,
    Builtin,
    Conflicting,
    Frame,
    Layer,
    Method,
    Routine,
)
from shapetrace.records import TensorRef

_BINARY: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add),
    ast.Sub: ("sub", operator.sub),
    ast.Mult: ("mul", operator.mul),
    ast.Div: ("div", operator.truediv),
    ast.FloorDiv: ("floor_divide", operator.floordiv),
    ast.Mod: ("remainder", operator.mod),
    ast.Pow: ("pow", operator.pow),
    ast.MatMult: ("matmul", operator.matmul),
    ast.BitAnd: ("bitwise_and", operator.and_),
    ast.BitOr: ("bitwise_or", operator.or_),
    ast.BitXor: ("bitwise_xor", operator.xor),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le),
    ast.Gt: ("gt", operator.gt),
    ast.GtE: ("ge", operator.ge),
    ast.Eq: ("eq", operator.eq),
    ast.NotEq: ("ne", operator.ne),
}
#: rounds of a loop of which nobody knows how often it runs
_ROUNDS = 64


class Expressions(Names):
    """What expressions give."""

    def value(self, frame: Frame, node: ast.expr) -> Any:
        self.count()
        read = _READERS.get(type(node))
        return read(self, frame, node) if read is not None else UNKNOWN

    def constant(self, frame: Frame, node: ast.Constant) -> Any:
        return node.value

    # -- indexing ---------------------------------------------------------------------

    def subscript(self, frame: Frame, node: ast.Subscript) -> Any:
        call = self.recorded_call(frame, node)
        of, index = self.value(frame, node.value), self.value(frame, node.slice)
        if call is not None:
            self._learn(frame, node, call)
            known = self.given_back(call, [of, index])
            if known is not None:
                return known
            if call.outputs is None and self.stated(call):
                return self.result
        found = self.item(of, index, node)
        if found is UNKNOWN and call is not None and call.outputs is not None:
            return self.given_back(call, UNKNOWN)
        return found

    def item(self, of: Any, index: Any, node: ast.expr) -> Any:
        if isinstance(of, TensorRef):
            chosen = self._chosen(of, index, node)
            if chosen is not None:
                return chosen
            given = [of, index]
            qualname = "torch.Tensor.__getitem__"
            found = functions.function("getitem", qualname, given, {}, node.lineno)
            return self.miss(node, "index") if found is UNKNOWN else found
        if isinstance(of, Layer):
            if isinstance(index, str):
                return Layer(f"{of.name}.{index}" if of.name else index)
            of = self.children(of.name)
        if isinstance(of, (list, tuple)) and isinstance(index, (int, slice)):
            try:
                return of[index]
            except IndexError:
                text = f"then line {node.lineno} asks for item {index} of {len(of)}"
                if self.ahead:
                    raise Conflicting(text) from None
                return UNKNOWN
            except TypeError:
                return UNKNOWN
        if isinstance(of, dict) and isinstance(index, (int, str)):
            return of.get(index, UNKNOWN)
        return UNKNOWN

    def _chosen(self, of: TensorRef, mask: Any, node: ast.expr) -> TensorRef | None:
        """What a mask picks: as many as it was seen to pick, else all."""
        if not isinstance(mask, TensorRef) or mask.dtype != torch.bool:
            return None
        rank = len(mask.shape)
        if of.shape[:rank] != mask.shape:
            text = (
                f"then line {node.lineno} indexes {of.shape} with a mask {mask.shape}"
            )
            if self.ahead:
                raise Conflicting(text)
            return None
        counts = [
            user.outputs[0].shape[0]
            for user in self.graph.users.get(mask.id, ())
            if user.name == "getitem" and user.outputs and len(user.inputs) == 2
        ]
        count = counts[0] if counts else prod(mask.shape)
        return replace(of, id=-2, shape=(count, *of.shape[rank:]))

    def slice(self, frame: Frame, node: ast.Slice) -> Any:
        parts = (node.lower, node.upper, node.step)
        return slice(*(None if p is None else self.value(frame, p) for p in parts))

    # -- operators --------------------------------------------------------------------

    def operation(self, frame: Frame, node: ast.BinOp) -> Any:
        call = self.recorded_call(frame, node)
        left, right = self.value(frame, node.left), self.value(frame, node.right)
        return self.operated(frame, call, type(node.op), left, right, node)

    def operated(
        self,
        frame: Frame,
        call: Any,
        kind: type[ast.operator],
        left: Any,
        right: Any,
        node: ast.expr | ast.AugAssign,
    ) -> Any:
        if call is not None:
            if isinstance(node, ast.expr):
                self._learn(frame, node, call)
            known = self.given_back(call, [left, right])
            if known is not None:
                return known
            (left, right), _ = self._filled(call, [left, right], {})
            if call.outputs is None and self.stated(call):
                return self.result
        name, reckon = _BINARY.get(kind, ("", None))
        found: Any = UNKNOWN
        if name:
            found = functions.arithmetic(name, left, right, node.lineno, reckon)
            if call is None and functions.pairs_samples(left, right):
                self.miss(node, f"{name} of all pairs of samples", always=True)
        if found is not UNKNOWN:
            return found
        if call is not None and call.outputs is None and self.result is not None:
            return self.result
        if call is not None and call.outputs is not None:
            return self.given_back(call, UNKNOWN)
        for one in (left, right):
            if isinstance(one, TensorRef):
                # a loss by the number of batches is one number, whatever that is
                return self.miss(node, name) if one.shape else one
        return UNKNOWN

    def unary(self, frame: Frame, node: ast.UnaryOp) -> Any:
        self.recorded_call(frame, node)
        found = self.value(frame, node.operand)
        if isinstance(node.op, ast.Not):
            true = truth(found)
            return UNKNOWN if true is None else not true
        if isinstance(found, (int, float)):
            return -found if isinstance(node.op, ast.USub) else found
        return found if isinstance(found, TensorRef) else UNKNOWN

    def comparison(self, frame: Frame, node: ast.Compare) -> Any:
        call = self.recorded_call(frame, node)
        values = [self.value(frame, each) for each in (node.left, *node.comparators)]
        if call is not None:
            known = self.given_back(call, values)
            if known is not None:
                return known
        told: list[Any] = [
            self._compared(op, left, right, node)
            for op, left, right in zip(node.ops, values, values[1:], strict=False)
        ]
        if len(told) == 1:
            return told[0]
        if any(each is False for each in told):
            return False
        return True if all(each is True for each in told) else UNKNOWN

    def _compared(self, op: ast.cmpop, left: Any, right: Any, node: ast.expr) -> Any:
        if isinstance(op, (ast.Is, ast.IsNot)):
            if left is UNKNOWN or right is UNKNOWN:
                return UNKNOWN
            if left is not None and right is not None:
                return UNKNOWN
            return (left is right) == isinstance(op, ast.Is)
        if isinstance(op, (ast.In, ast.NotIn)):
            if isinstance(right, (list, tuple, dict)) and isinstance(left, (int, str)):
                return (left in right) == isinstance(op, ast.In)
            return UNKNOWN
        name, reckon = _COMPARISONS[type(op)]
        return functions.arithmetic(name, left, right, node.lineno, reckon)

    def logic(self, frame: Frame, node: ast.BoolOp) -> Any:
        stops = isinstance(node.op, ast.Or)
        unsure = False
        found: Any = UNKNOWN
        for each in node.values:
            found = self.value(frame, each)
            true = truth(found)
            if true is stops and not unsure:
                return found
            unsure = unsure or true is None
        return UNKNOWN if unsure else found

    def choice(self, frame: Frame, node: ast.IfExp) -> Any:
        true = truth(self.value(frame, node.test))
        if true is None and frame.live and frame.original is None:
            file = frame.tree.file
            for branch in (node.body, node.orelse):
                if self.cursor.any_left(frame.parent, file, [branch]):
                    return self.value(frame, branch)
        if true is None:
            return UNKNOWN
        return self.value(frame, node.body if true else node.orelse)

    # -- collections ------------------------------------------------------------------

    def sequence(self, frame: Frame, node: ast.List | ast.Tuple | ast.Set) -> Any:
        found: list[Any] = []
        for each in node.elts:
            if isinstance(each, ast.Starred):
                inner = items(self.value(frame, each.value), self.children)
                if inner is None:
                    return UNKNOWN
                found += inner
            else:
                found.append(self.value(frame, each))
        return tuple(found) if isinstance(node, ast.Tuple) else found

    def mapping(self, frame: Frame, node: ast.Dict) -> Any:
        found: dict[Any, Any] = {}
        for key, each in zip(node.keys, node.values, strict=True):
            value = self.value(frame, each)
            if key is None:
                if not isinstance(value, dict):
                    return UNKNOWN
                found |= value
                continue
            name = self.value(frame, key)
            if not isinstance(name, (int, str)):
                return UNKNOWN
            found[name] = value
        return found

    def comprehension(
        self, frame: Frame, node: ast.ListComp | ast.GeneratorExp | ast.SetComp
    ) -> Any:
        found = [
            self.value(frame, node.elt) for _ in self._rounds(frame, node.generators)
        ]
        return UNKNOWN if self._unknown_rounds(frame, node, found) else found

    def dict_comprehension(self, frame: Frame, node: ast.DictComp) -> Any:
        found = {}
        for _ in self._rounds(frame, node.generators):
            key, value = self.value(frame, node.key), self.value(frame, node.value)
            if not isinstance(key, (int, str)):
                return UNKNOWN
            found[key] = value
        return UNKNOWN if self._unknown_rounds(frame, node, found) else found

    def _unknown_rounds(self, frame: Frame, node: Any, found: Any) -> bool:
        """Whether nobody knows how often a comprehension runs, and no record tells."""
        first = node.generators[0]
        known = items(self.value(frame, first.iter), self.children)
        return known is None and not (frame.live and found)

    def _rounds(
        self, frame: Frame, generators: list[ast.comprehension]
    ) -> Iterator[None]:
        if not generators:
            yield
            return
        first, *rest = generators
        for one in self.runs_through(frame, first.iter, [first.target]):
            self.assign(frame, first.target, one)
            tests = [truth(self.value(frame, each)) for each in first.ifs]
            if False not in tests:
                yield from self._rounds(frame, rest)

    def runs_through(
        self, frame: Frame, iterated: ast.expr, body: list[Any]
    ) -> Iterator[Any]:
        """What a loop runs through, one after the other. Of what is not known there are
        as many rounds as calls were recorded for, and one more behind the failing."""
        known = items(self.value(frame, iterated), self.children)
        if known is not None:
            yield from known
            return
        before = self.ahead
        for n in range(_ROUNDS):
            left = frame.live and self.cursor.any_left(
                frame.parent, frame.tree.file, body
            )
            if not left and n:
                break
            if not left and not self.ahead and frame.live:
                return
            yield UNKNOWN
        if self.ahead and not before:
            yield UNKNOWN

    @abstractmethod
    def assign(self, frame: Frame, target: ast.expr, value: Any) -> None:
        """What a name, an attribute or an index stands for from now on."""

    def function_here(self, frame: Frame, node: ast.Lambda) -> Any:
        return Routine(frame.tree, node, frame.owner, frame)

    def handed_on(self, frame: Frame, node: ast.Yield) -> Any:
        """What a generator yields is read in one go, ahead of whoever takes it."""
        value = None if node.value is None else self.value(frame, node.value)
        frame.yielded.append(value)
        return UNKNOWN

    def named(self, frame: Frame, node: ast.NamedExpr) -> Any:
        found = self.value(frame, node.value)
        frame.names[node.target.id] = found
        return found


_READERS: dict[type[ast.expr], Callable[[Any, Frame, Any], Any]] = {
    ast.Constant: Expressions.constant,
    ast.Name: Expressions.name,
    ast.Attribute: Expressions.attribute_of,
    ast.Subscript: Expressions.subscript,
    ast.Slice: Expressions.slice,
    ast.Call: Names.call,
    ast.BinOp: Expressions.operation,
    ast.UnaryOp: Expressions.unary,
    ast.Compare: Expressions.comparison,
    ast.BoolOp: Expressions.logic,
    ast.IfExp: Expressions.choice,
    ast.List: Expressions.sequence,
    ast.Tuple: Expressions.sequence,
    ast.Set: Expressions.sequence,
    ast.Dict: Expressions.mapping,
    ast.ListComp: Expressions.comprehension,
    ast.GeneratorExp: Expressions.comprehension,
    ast.SetComp: Expressions.comprehension,
    ast.DictComp: Expressions.dict_comprehension,
    ast.Lambda: Expressions.function_here,
    ast.NamedExpr: Expressions.named,
    ast.Yield: Expressions.handed_on,
}


def truth(value: Any) -> bool | None:
    """Whether Python takes a value for true; None where that is not known."""
    if value is UNKNOWN or isinstance(value, (TensorRef, Method, Builtin)):
        return None
    if isinstance(value, (Layer, Built, Routine)):
        return True
    if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict)):
        return bool(value)
    return None
