"""What the names in the user's code stand for: the value that a name was given, in the
function itself, by its caller, in the class or at the top of the file."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import CodeType

from shapetrace.records import FunctionCall, Source
from shapetrace.source.tree import Function, Home, Tree, function_at, neighbours, tree


@dataclass(frozen=True, eq=False)
class Expression:
    """An expression, and what the names in it mean there. `repeated`: it stands in a
    loop or comprehension. `known_as` are the names and attributes that it is kept
    under, with the scopes in which it is."""

    node: ast.expr
    scope: Scope
    repeated: bool = False
    known_as: tuple[tuple[Scope, str], ...] = ()

    @property
    def code(self) -> str:
        return self.scope.tree.text(self.node)

    @property
    def source(self) -> Source:
        return self.scope.tree.place(self.node)

    def at(self, node: ast.expr) -> Expression:
        """A part of the expression."""
        return Expression(node, self.scope, self.repeated)


@dataclass(frozen=True, eq=False)
class Scope:
    """The names of one function's body, or of a file. `given` are the arguments that
    its caller passed; `owner` the module whose method it is."""

    tree: Tree
    home: Home
    given: Mapping[str, Expression] = field(default_factory=dict, repr=False)
    owner: str | None = None

    def parameters(self) -> list[ast.arg]:
        """The parameters of the function, `self` included."""
        if isinstance(self.home, ast.Module):
            return []
        args = self.home.args
        return [*args.posonlyargs, *args.args, *args.kwonlyargs]

    def default(self, name: str) -> ast.expr | None:
        """The default of a parameter."""
        if isinstance(self.home, ast.Module):
            return None
        args = self.home.args
        plain = [*args.posonlyargs, *args.args]
        with_default = plain[len(plain) - len(args.defaults) :]
        pairs = [
            *zip(with_default, args.defaults, strict=True),
            *zip(args.kwonlyargs, args.kw_defaults, strict=True),
        ]
        return next((value for arg, value in pairs if arg.arg == name), None)

    def enclosing(self) -> Iterator[Scope]:
        """Where names are looked up, one after the other: this scope, the functions
        around it, the file, and of a notebook the other cells."""
        yield self
        home = self.home
        while not isinstance(home, ast.Module):
            home = self.tree.home(home)
            yield Scope(self.tree, home, owner=self.owner)
        for other in neighbours(self.tree.file)[1:]:
            yield Scope(other, other.module)

    def holder(self, name: str) -> Scope | None:
        """The scope that has a name, as a parameter or by an assignment."""
        for each in self.enclosing():
            if bound(each, name) or name in [arg.arg for arg in each.parameters()]:
                return each
        return None

    def self_name(self) -> str:
        """What a method calls its module: `self`; "" in a plain function."""
        inside = self.tree.parents.get(self.home)
        names = self.parameters()
        return names[0].arg if isinstance(inside, ast.ClassDef) and names else ""

    def class_node(self) -> ast.ClassDef | None:
        inside = self.tree.parents.get(self.home)
        return inside if isinstance(inside, ast.ClassDef) else None


@dataclass(frozen=True, slots=True)
class Bound:
    """One way in which a name gets its value. `item` is its place where the value is
    unpacked, counted from the end (negative) behind a star."""

    value: ast.expr
    item: int | None = None
    repeated: bool = False
    #: the value is what a loop runs over, or what `+=` adds
    partial: bool = False


_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


@functools.lru_cache(maxsize=1024)
def nodes(home: Home) -> tuple[tuple[ast.AST, bool], ...]:
    """Everything in a function's body, in the order of the file, without the bodies of
    the functions and classes in it; with each whether it stands in a loop."""
    found: list[tuple[ast.AST, bool]] = []

    def inside(node: ast.AST, repeated: bool) -> None:
        found.append((node, repeated))
        if isinstance(node, Function | ast.ClassDef):
            return
        again = repeated or isinstance(node, _LOOPS + _COMPREHENSIONS)
        for child in ast.iter_child_nodes(node):
            inside(child, again)

    body = home.body
    for statement in [body] if isinstance(body, ast.expr) else body:
        inside(statement, False)
    return tuple(found)


def bound(scope: Scope, name: str) -> list[Bound]:
    """All that a name, or an attribute written `self.heads`, is assigned in a scope."""
    return _bindings(scope.home).get(name, [])


@functools.lru_cache(maxsize=1024)
def _bindings(home: Home) -> dict[str, list[Bound]]:
    found: dict[str, list[Bound]] = {}

    def add(named: Iterator[tuple[str, Bound]], partial: bool = False) -> None:
        for name, one in named:
            if name:
                one = replace(one, repeated=True, partial=True) if partial else one
                found.setdefault(name, []).append(one)

    for node, repeated in nodes(home):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                add(_of_target(target, node.value, repeated))
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value:
            add(_of_target(node.target, node.value, repeated))
        elif isinstance(node, ast.AugAssign):
            add(iter([(_spelled(node.target), Bound(node.value))]), True)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            add(_of_target(node.target, node.iter, True), True)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            add(_of_target(node.optional_vars, node.context_expr, repeated), True)
        elif isinstance(node, ast.Call):
            add(_registered(node, repeated))
    return found


def _registered(node: ast.Call, repeated: bool) -> Iterator[tuple[str, Bound]]:
    """`self.register_buffer("mask", value)` gives `self.mask` a value."""
    func = node.func
    if not isinstance(func, ast.Attribute) or len(node.args) < 2:
        return
    name = node.args[0]
    if func.attr in ("register_buffer", "register_parameter"):
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            path = f"{_spelled(func.value)}.{name.value}"
            yield path, Bound(node.args[1], None, repeated)


def _of_target(
    target: ast.expr, value: ast.expr, repeated: bool
) -> Iterator[tuple[str, Bound]]:
    """The names in a target, each with what it is given."""
    if not isinstance(target, ast.Tuple | ast.List):
        yield _spelled(target), Bound(value, None, repeated)
        return
    starred = [isinstance(each, ast.Starred) for each in target.elts]
    same = isinstance(value, ast.Tuple | ast.List) and not any(starred)
    for at, each in enumerate(target.elts):
        if same and len(value.elts) == len(target.elts):  # type: ignore[attr-defined]
            yield _spelled(each), Bound(value.elts[at], None, repeated)  # type: ignore
            continue
        item = at - len(target.elts) if any(starred[:at]) else at
        yield _spelled(each), Bound(value, item, repeated)


def _spelled(node: ast.expr) -> str:
    """`self.heads`, `n`; "" for what is neither a name nor an attribute of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _spelled(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def bind(
    tree: Tree, home: Function, call: Expression, owner: str | None = None
) -> Scope:
    """The scope of a function's body when it is called by an expression."""
    assert isinstance(call.node, ast.Call)
    empty = Scope(tree, home, owner=owner)
    names = [arg.arg for arg in empty.parameters()]
    if empty.self_name() and not _is_static(home):
        names = names[1:]
    given: dict[str, Expression] = {}
    values = call.node.args
    stars = [n for n, value in enumerate(values) if isinstance(value, ast.Starred)]
    for name, value in zip(names, values[: min(stars, default=None)], strict=False):
        given[name] = call.at(value)
    for pair in call.node.keywords:
        if pair.arg is not None:
            given[pair.arg] = call.at(pair.value)
    return Scope(tree, home, given, owner)


def from_only_call(scope: Scope, name: str) -> Expression | None:
    """What a function's one call in the user's file gives for a parameter."""
    home = scope.home
    if not isinstance(home, ast.FunctionDef) or scope.self_name():
        return None
    calls = [
        (each, node)
        for each in neighbours(scope.tree.file)
        for node in each.calls.get(home.name, ())
    ]
    if len(calls) != 1:
        return None
    found, node = calls[0]
    around = Expression(node, Scope(found, found.home(node)))
    return bind(scope.tree, home, around).given.get(name)


def _is_static(home: Function) -> bool:
    decorators = getattr(home, "decorator_list", [])
    return any(_spelled(each) == "staticmethod" for each in decorators)


def function_of(scope: Scope, called: ast.expr) -> tuple[Tree, Function] | None:
    """The definition of a function of the user's that an expression calls: of the
    file, of the class (`self.make_layer`), or imported from another of their files."""
    if isinstance(called, ast.Attribute):
        kind = scope.class_node()
        if kind is None or _spelled(called.value) not in (scope.self_name(), kind.name):
            return None
        found = _defined(kind.body, called.attr)
        return None if found is None else (scope.tree, found)
    if not isinstance(called, ast.Name):
        return None
    for each in neighbours(scope.tree.file):
        home = scope.home if each is scope.tree else each.module
        function = each.function(called.id, home)
        if function is not None:
            return each, function
    return _imported(scope.tree.file, called.id)


def _defined(body: list[ast.stmt], name: str) -> ast.FunctionDef | None:
    found = [
        node for node in body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return found[-1] if found else None


def _imported(file: str, name: str) -> tuple[Tree, Function] | None:
    """A function of another file, as the running module of this file sees it."""
    module = sys.modules.get(_module_of(file))
    code = getattr(getattr(module, "__dict__", {}).get(name), "__code__", None)
    if not isinstance(code, CodeType):
        return None
    return defined_at(Source(code.co_filename, code.co_firstlineno))


@functools.lru_cache(maxsize=64)
def _module_of(file: str) -> str:
    """The name of the module that a file was run as: the user's come last."""
    path = PurePath(file)
    own = path.parent.name if path.stem == "__init__" else path.stem
    for name in reversed(list(sys.modules)):
        # of thousands those alone that may be it
        if name == "__main__" or name.rpartition(".")[2] == own:
            if getattr(sys.modules.get(name), "__dict__", {}).get("__file__") == file:
                return name
    return ""


def defined_at(source: Source) -> tuple[Tree, Function] | None:
    """The function whose definition begins at a place."""
    found = tree(source.file)
    home = found.defined_at(source.line) if found is not None else None
    return None if found is None or home is None else (found, home)


def arguments(made: FunctionCall) -> list[str]:
    """The arguments of the function in which a call stands, `self` left out."""
    return arguments_at(made.source)


def arguments_at(source: Source | None) -> list[str]:
    """The same for a place in the user's code."""
    found = function_at(source)
    if found is None:
        return []
    return [arg.arg for arg in Scope(*found).parameters() if arg.arg != "self"]
