"""From which number in the source, or from which tensor's shape, an integer stems."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from shapetrace.records import Source
from shapetrace.source.scope import (
    Bound,
    Expression,
    Scope,
    bound,
    from_only_call,
)
from shapetrace.source.tree import last_name, neighbours

#: the scopes of the `__init__`s of a module, by its name
Inits = Callable[[str], list[Scope]]
#: expressions of the source, with what is to stand in their places
Instead = Mapping[ast.expr, ast.expr]

Kind = Literal["constant", "default", "shape", "value", "parameter", "expression"]

_DEEPEST = 16  # names that stand for one another
_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_READ = frozenset("item max min amax amin sum argmax argmin unique".split())


@dataclass(frozen=True, slots=True)
class Stem:
    """What an integer stems from.

    `kind` is `constant` (a number written at `source`), `default` (one written as the
    default of a parameter), `shape` (of the variable `of`, its dimension `dim`; None:
    another number of the shape, such as `numel()`), `value` (the data of a tensor),
    `parameter` (an argument whose caller is not known), `expression` (reckoned from
    `parts`). `names` are the names on the way, the nearest first. `where` is what is
    written there, with its scope.
    """

    kind: Kind
    source: Source
    where: Expression
    value: int | None = None
    of: str = ""
    dim: int | None = None
    names: tuple[str, ...] = ()
    parts: tuple[Stem, ...] = ()

    def __str__(self) -> str:
        """`constant 64 at model.py:12`, `x.shape[1]`."""
        if self.kind == "shape":
            return self.of if self.dim is None else f"{self.of}.shape[{self.dim}]"
        if self.kind == "constant":
            return f"constant {self.value} at {self.source}"
        if self.kind == "default":
            return f"default {self.names[-1]}={self.where.code} at {self.source}"
        if self.kind == "value":
            return f"the values of {self.of}"
        if self.kind == "parameter":
            return f"argument {self.names[-1]} at {self.source}"
        return self.where.code


def stem(made: Expression, inits: Inits) -> Stem | None:
    """The stem of an integer expression; None where it is not sure."""
    return _Follower(inits).follow(made, 0)


def value(made: Expression, inits: Inits, instead: Instead | None = None) -> int | None:
    """The number of an expression that is written out in the source, if it is; with
    other expressions `instead` of some that it comes from."""
    found = _Follower(inits, instead or {}).follow(made, 0)
    return found.value if found is not None else None


class _Follower:
    def __init__(self, inits: Inits, instead: Instead | None = None) -> None:
        self._inits = inits
        self._instead = instead or {}

    def follow(self, made: Expression, depth: int) -> Stem | None:
        if depth > _DEEPEST:
            return None
        if made.node in self._instead:
            made = made.at(self._instead[made.node])
        node = made.node
        if isinstance(node, ast.Constant):
            if type(node.value) is not int:
                return None
            return Stem("constant", made.source, made, node.value)
        if isinstance(node, ast.Name):
            found = self._name(made, node.id, depth + 1)
            return _named(found, node.id)
        if isinstance(node, ast.Attribute):
            found = self._attribute(made, node, depth + 1)
            return _named(found, made.code)
        of = shape_item(node)
        if of is not None:
            return _of_shape(made.at(of[0]), made, of[1])
        if isinstance(node, ast.Subscript):
            return self._item(made, node, depth + 1)
        if isinstance(node, ast.Call):
            return self._call(made, node, depth + 1)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.follow(made.at(node.operand), depth + 1)
            if inner is None or inner.value is None:
                return None
            kind: Kind = "constant" if inner.kind == "constant" else "expression"
            return Stem(kind, made.source, made, -inner.value, parts=(inner,))
        if isinstance(node, ast.BinOp):
            return self._sum(made, node, depth + 1)
        return None

    def _sum(self, made: Expression, node: ast.BinOp, depth: int) -> Stem | None:
        left = self.follow(made.at(node.left), depth)
        right = self.follow(made.at(node.right), depth)
        if left is None or right is None:
            return None
        number = None
        act = _BINARY.get(type(node.op))
        if act is not None and left.value is not None and right.value is not None:
            try:
                number = act(left.value, right.value)
            except (ArithmeticError, ValueError):
                return None
        parts = (left, right)
        return Stem("expression", made.source, made, number, parts=parts)

    # -- names ----------------------------------------------------------------------

    def _name(self, made: Expression, name: str, depth: int) -> Stem | None:
        scope = made.scope.holder(name)
        if scope is None:
            return None
        ways = bound(scope, name)
        mine = [arg for arg in scope.parameters() if arg.arg == name]
        if ways:
            return None if mine else self._assigned(scope, ways, depth)
        return self._argument(Expression(made.node, scope), mine[0], depth)

    def _assigned(self, scope: Scope, ways: list[Bound], depth: int) -> Stem | None:
        if len(ways) != 1 or ways[0].partial:
            return None
        found = ways[0]
        made = Expression(found.value, scope, found.repeated)
        if found.item is None:
            return self.follow(made, depth)
        of = shape_of(found.value)
        if of is not None:
            return _of_shape(made.at(of), made, found.item)
        if isinstance(found.value, ast.Tuple | ast.List):
            items = found.value.elts
            if not any(isinstance(each, ast.Starred) for each in items):
                return self.follow(made.at(items[found.item]), depth)
        return None

    def _argument(self, made: Expression, arg: ast.arg, depth: int) -> Stem | None:
        """What the caller gave, else the default, else the parameter itself."""
        scope, name = made.scope, arg.arg
        given = scope.given.get(name)
        if given is None and not scope.given and scope.owner is None:
            given = from_only_call(scope, name)
        if given is not None:
            return self.follow(given, depth)
        default = scope.default(name)
        if default is not None:
            outside = Scope(scope.tree, scope.tree.home(scope.home))
            inner = self.follow(Expression(default, outside), depth)
            if inner is None or inner.kind != "constant":
                return inner
            return replace(inner, kind="default", names=(name,))
        place = scope.tree.place(arg)
        return Stem("parameter", place, made, names=(name,))

    # -- attributes, items and calls --------------------------------------------------

    def _attribute(
        self, made: Expression, node: ast.Attribute, depth: int
    ) -> Stem | None:
        scope = made.scope
        if isinstance(node.value, ast.Name) and node.value.id == scope.self_name():
            if scope.owner is None:
                return None
            for init in self._inits(scope.owner):
                ways = bound(init, f"{init.self_name()}.{node.attr}")
                if ways:
                    return self._assigned(init, ways, depth)
            return None
        return self._of_object(made.at(node.value), node.attr, depth)

    def _of_object(self, holder: Expression, name: str, depth: int) -> Stem | None:
        """`config.hidden`, where `config = Config(hidden=64)` is seen: what is given
        there, else what the class gives."""
        call = self._built(holder, 0)
        if call is None:
            return None
        assert isinstance(call.node, ast.Call)
        for pair in call.node.keywords:
            if pair.arg == name:
                return self.follow(call.at(pair.value), depth)
        kind = last_name(call.node.func)
        for tree in neighbours(call.scope.tree.file):
            for node in tree.nodes:
                if isinstance(node, ast.ClassDef) and node.name == kind:
                    for each in node.body:
                        target, value = _class_default(each)
                        if value is not None and target == name:
                            made = Expression(value, Scope(tree, tree.module))
                            return self.follow(made, depth)
        return None

    def _built(self, made: Expression, depth: int) -> Expression | None:
        """The call that made an object which a name stands for."""
        node, scope = made.node, made.scope
        if isinstance(node, ast.Call):
            return made
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Name):
            holder = scope.holder(node.id)
            if holder is None:
                return None
            ways = bound(holder, node.id)
            if node.id in holder.given and not ways:
                return self._built(holder.given[node.id], depth + 1)
            if len(ways) == 1 and ways[0].item is None and not ways[0].partial:
                return self._built(Expression(ways[0].value, holder), depth + 1)
        elif isinstance(node, ast.Attribute) and scope.owner is not None:
            for init in self._inits(scope.owner):
                ways = bound(init, f"{init.self_name()}.{node.attr}")
                if len(ways) == 1:
                    return self._built(Expression(ways[0].value, init), depth + 1)
        return None

    def _item(self, made: Expression, node: ast.Subscript, depth: int) -> Stem | None:
        if isinstance(node.slice, ast.Constant):  # `config["hidden"]`
            holder = made.at(node.value)
            if isinstance(holder.node, ast.Name):
                ways = bound(holder.scope, holder.node.id)
                values = [way.value for way in ways]
                if len(values) == 1 and isinstance(values[0], ast.Dict):
                    for key, each in zip(values[0].keys, values[0].values, strict=True):
                        if isinstance(key, ast.Constant):
                            if key.value == node.slice.value:
                                return self.follow(made.at(each), depth)
        return None

    def _call(self, made: Expression, node: ast.Call, depth: int) -> Stem | None:
        name = last_name(node.func)
        if isinstance(node.func, ast.Attribute):
            holder = node.func.value
            if name in ("numel", "dim", "nelement"):
                return _of_shape(made, made, None)
            if name in _READ:
                while isinstance(holder, ast.Call) and last_name(holder.func) in _READ:
                    assert isinstance(holder.func, ast.Attribute)
                    holder = holder.func.value
                of = made.at(holder).code
                return Stem("value", made.source, made, of=of)
        if name == "int" and len(node.args) == 1:
            return self.follow(made.at(node.args[0]), depth)
        return None


def _class_default(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """The name and the value of `hidden: int = 64` in a class's body."""
    if isinstance(node, ast.AnnAssign):
        return last_name(node.target), node.value
    if isinstance(node, ast.Assign):
        return last_name(node.targets[0]), node.value
    return "", None


def _named(found: Stem | None, name: str) -> Stem | None:
    if found is None or found.kind == "default" and found.names[:1] == (name,):
        return found
    return replace(found, names=(name, *found.names))


def shape_of(node: ast.expr) -> ast.expr | None:
    """The `x` of `x.shape` and `x.size()`."""
    if isinstance(node, ast.Attribute) and node.attr == "shape":
        return node.value
    if isinstance(node, ast.Call) and not node.args and last_name(node.func) == "size":
        return node.func.value if isinstance(node.func, ast.Attribute) else None
    return None


def shape_item(node: ast.expr) -> tuple[ast.expr, int] | None:
    """The `x` and the dimension of `x.shape[1]`, `x.size(1)`, and `len(x)`."""
    of, index = None, None
    if isinstance(node, ast.Subscript):
        of, index = shape_of(node.value), _integer(node.slice)
    elif isinstance(node, ast.Call) and len(node.args) == 1:
        name = last_name(node.func)
        if name == "size" and isinstance(node.func, ast.Attribute):
            of, index = node.func.value, _integer(node.args[0])
        elif name == "len":
            of, index = node.args[0], 0
    return None if of is None or index is None else (of, index)


def _of_shape(of: Expression, made: Expression, dim: int | None) -> Stem:
    return Stem("shape", made.source, made, of=of.code, dim=dim)


def _integer(node: ast.expr) -> int | None:
    try:
        found = ast.literal_eval(node)
    except ValueError:
        return None
    return found if type(found) is int else None
