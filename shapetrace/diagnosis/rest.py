"""What the user's code does with the result of the failing call, as far as its text
tells: the rest of the statement and of the functions around it, with shapes alone.

Nothing is run. Names have the shapes of the tensors that were recorded for them, layers
and functions give what their signatures say; where a value is not known, what hangs on
it is not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from shapetrace.diagnosis.expected import clash_text
from shapetrace.lineage import Call, Graph
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import conflicts, module_function, predict
from shapetrace.source.frames import expression_of
from shapetrace.source.scope import Expression
from shapetrace.source.sizes import variables_at

#: statements that are read behind the failing one
_STATEMENTS = 40
_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
}
_HOMES = {"F": "torch.nn.functional", "torch": "torch"}

See = Callable[[TensorRef], TensorRef]


class Conflicting(Exception):
    """A call that comes later would not take what the repaired program gives it."""


class Unread(Exception):
    """What the code does there is not known."""


class Rest:
    """The code behind one failing call."""

    def __init__(self, graph: Graph, call: FunctionCall, layer: ModuleCall | None):
        self._graph = graph
        self._outer: list[tuple[Call, Expression, dict[str, TensorRef]]] = []
        at: Call | None = layer or call
        while at is not None:
            made = expression_of(graph.rec, at)
            if made is None:
                break
            self._outer.append((at, made, variables_at(graph.rec, at)))
            above = graph.rec.calls[at.parent] if at.parent is not None else None
            # the calls of an nn.Sequential's children have its own place
            while above is not None and above.source == at.source:
                above = (
                    graph.rec.calls[above.parent] if above.parent is not None else None
                )
            at = above

    def check(self, result: TensorRef, see: See) -> None:
        """Raise `Conflicting` where something behind does not take the result."""
        value: TensorRef | None = result
        for call, made, variables in self._outer:
            known = {name: see(ref) for name, ref in variables.items()}
            owner = None
            if call.parent is not None:
                owner = self._graph.rec.calls[call.parent].name
            reader = _Reader(self._graph, known, owner, {made.node: value})
            value = reader.after(made)
            if value is None:
                return


class _Reader:
    def __init__(
        self,
        graph: Graph,
        known: dict[str, TensorRef],
        owner: str | None,
        values: Mapping[ast.AST, TensorRef | None],
    ) -> None:
        self._graph = graph
        self._known = known
        self._owner = owner
        self._values = values

    def after(self, made: Expression) -> TensorRef | None:
        """What the function around a call returns; None where that is not known."""
        tree = made.scope.tree
        statement = tree.statement(made.node)
        body = self._body(tree.parents.get(statement), statement)
        at = body.index(statement) if statement in body else 0
        for following in body[at : at + _STATEMENTS]:
            if isinstance(following, ast.Return):
                return self._value(following.value)
            if isinstance(following, ast.Assign):
                self._assign(following)
            elif isinstance(following, ast.Expr):
                self._value(following.value)
            elif not isinstance(following, ast.Pass):
                return None  # a branch or a loop
        return None

    @staticmethod
    def _body(parent: ast.AST | None, statement: ast.stmt) -> list[ast.stmt]:
        body = getattr(parent, "body", None)
        return body if isinstance(body, list) else [statement]

    def _assign(self, node: ast.Assign) -> None:
        value = self._value(node.value)
        for target in node.targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name):
                    self._known.pop(name.id, None)
            if isinstance(target, ast.Name) and value is not None:
                self._known[target.id] = value

    def _value(self, node: ast.expr | None) -> TensorRef | None:
        """What an expression gives; None where that is not known."""
        try:
            return self._read(node)
        except Unread:
            return None

    def _read(self, node: ast.expr | None) -> TensorRef | None:
        if node is None:
            return None
        if node in self._values:
            return self._values[node]
        if isinstance(node, ast.Name):
            return self._known.get(node.id)
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, ast.UnaryOp):
            return self._value(node.operand)
        if isinstance(node, ast.Call):
            return self._call(node)
        for child in ast.iter_child_nodes(node):  # what is inside may not fit either
            if isinstance(child, ast.expr):
                self._value(child)
        return None

    def _operation(self, node: ast.BinOp) -> TensorRef | None:
        name = _OPERATORS.get(type(node.op))
        left, right = self._value(node.left), self._value(node.right)
        if name is None:
            return None
        refs = [ref for ref in (left, right) if ref is not None]
        plain = [isinstance(side, ast.Constant) for side in (node.left, node.right)]
        if len(refs) == 1 and any(plain):
            return refs[0]
        if len(refs) < 2:
            return None
        return self._function(name, f"torch.Tensor.{name}", list(refs), {}, node)

    def _call(self, node: ast.Call) -> TensorRef | None:
        arguments = [self._argument(arg) for arg in node.args]
        keywords = {
            word.arg: self._argument(word.value)
            for word in node.keywords
            if word.arg is not None
        }
        func = node.func
        module = self._module(func)
        if module is not None:
            return self._layer(module, arguments, keywords)
        if not isinstance(func, ast.Attribute):
            return None
        home = self._home(func.value)
        if home:
            name = f"{home}.{func.attr}"
            return self._function(func.attr, name, arguments, keywords, node)
        receiver = self._value(func.value)
        if receiver is None:
            return None
        name = f"torch.Tensor.{func.attr}"
        return self._function(func.attr, name, [receiver, *arguments], keywords, node)

    def _argument(self, node: ast.expr) -> Any:
        """A tensor, or a number that is written out; `Unread` for all else."""
        value = self._value(node)
        if value is not None:
            return value
        try:
            return ast.literal_eval(node)
        except ValueError:
            return _Unknown

    def _home(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        if text in ("nn.functional", "torch.nn.functional"):
            return "torch.nn.functional"
        return _HOMES.get(text, "") if text not in self._known else ""

    def _module(self, func: ast.expr) -> str | None:
        """`encoder.layers.0` of `self.layers[0]` in the module `encoder`."""
        parts: list[str] = []
        while not isinstance(func, ast.Name):
            if isinstance(func, ast.Attribute):
                parts.insert(0, func.attr)
                func = func.value
            elif isinstance(func, ast.Subscript):
                if not isinstance(func.slice, ast.Constant):
                    return None
                parts.insert(0, str(func.slice.value))
                func = func.value
            else:
                return None
        if func.id != "self" or self._owner is None or not parts:
            return None
        name = ".".join(([self._owner] if self._owner else []) + parts)
        return name if name in self._graph.rec.modules else None

    def _layer(
        self, name: str, arguments: list[Any], keywords: dict[str, Any]
    ) -> TensorRef | None:
        """What a layer gives, or the layers of an nn.Sequential one after the other."""
        info = self._graph.rec.modules[name]
        if len(arguments) != 1 or keywords or arguments[0] is _Unknown:
            return None
        value = arguments[0]
        if not isinstance(value, TensorRef):
            return None
        if info.type == "Sequential":
            at = 0
            while f"{name}.{at}" in self._graph.rec.modules:
                following = self._layer(f"{name}.{at}", [value], {})
                if following is None:
                    return None
                value, at = following, at + 1
            return value
        ref = replace(value, path="args[0]")
        call = ModuleCall(-1, None, 0, name, info.type, (ref,), None)
        made = module_function(call, info)
        return None if made is None else self._result(made, name)

    def _function(
        self,
        name: str,
        qualname: str,
        arguments: list[Any],
        keywords: dict[str, Any],
        node: ast.expr,
    ) -> TensorRef | None:
        if any(arg is _Unknown for arg in (*arguments, *keywords.values())):
            return None
        inputs: list[TensorRef] = []
        args: list[Any] = []
        for at, arg in enumerate(arguments):
            if isinstance(arg, TensorRef):
                arg = replace(arg, path=f"args[{at}]")
                inputs.append(arg)
            args.append(arg)
        kwargs: dict[str, Any] = {}
        for key, arg in keywords.items():
            if isinstance(arg, TensorRef):
                arg = replace(arg, path=f"kwargs['{key}']")
                inputs.append(arg)
            kwargs[key] = arg
        if not inputs:
            return None
        call = FunctionCall(
            -1,
            None,
            name,
            qualname,
            tuple(inputs),
            None,
            args=tuple(args),
            kwargs=kwargs,
        )
        return self._result(call, f"`{name}` at line {node.lineno}")

    def _result(self, call: FunctionCall, said: str) -> TensorRef | None:
        found = conflicts(call)
        if found:
            clash = found[0]
            role = clash.right.name or clash.name
            raise Conflicting(clash_text(said, role, clash))
        shapes = predict(call, tuple(ref.shape for ref in call.inputs))
        if not shapes or len(shapes) != 1:
            return None
        return TensorRef("", -2, shapes[0], torch.float32, call.inputs[0].device)


class _Unknown:
    """An argument whose value is not known."""
