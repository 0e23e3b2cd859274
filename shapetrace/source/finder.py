"""Finds the calls in the user's code that built the modules of a recording."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.records import ModuleInfo, Recording
from shapetrace.source.called import (
    is_parameter,
    root_expression,
    root_of,
    unnamed,
)
from shapetrace.source.construction import Construction
from shapetrace.source.constructor import parameters
from shapetrace.source.entries import CONTAINERS, Entry, chosen, entries, set_by_name
from shapetrace.source.frames import own_scopes
from shapetrace.source.integers import Stem, stem, value
from shapetrace.source.scope import (
    Expression,
    Scope,
    bind,
    bound,
    defined_at,
    function_of,
    nodes,
)
from shapetrace.source.tree import is_own, last_name

#: methods and functions that hand on the module that they are given
_SAME = frozenset(
    "to cuda cpu eval train half float double bfloat16 requires_grad_ apply compile "
    "spectral_norm weight_norm orthogonal DataParallel DistributedDataParallel".split()
)
_DEEPEST = 12  # of names and helpers that stand for one another


class Constructions:
    """The constructor calls of a recording's modules, each looked up once."""

    def __init__(self, rec: Recording) -> None:
        self.rec = rec
        self._known: dict[str, tuple[Expression, ...]] = {}
        self._calls: dict[str, Construction | None] = {}
        self._built: dict[str, dict[ast.Call, list[str]]] = {}
        self._scopes: dict[str, list[Scope]] = {}
        self._everywhere: list[Scope] | None = None
        self._replaced: dict[str, list[tuple[list[str], Expression]]] | None = None
        self._filled: dict[str, list[list[Entry]]] = {}

    def of(self, name: str) -> Construction | None:
        """The call that built module `name`; None where that is not sure, or not in
        the user's own code."""
        if name not in self._calls:
            self._calls[name] = self._only(name)
        return self._calls[name]

    def _only(self, name: str) -> Construction | None:
        found = self.expressions(name)
        places = {(one.scope.tree.file, id(one.node)) for one in found}
        if len(places) != 1 or not isinstance(found[0].node, ast.Call):
            return None
        if not is_own(found[0].source):
            return None
        return Construction(self.rec.modules[name], found[0])

    def built_by(self, made: Construction) -> tuple[str, ...]:
        """All modules that the same call built, in a loop or by several instances."""
        kind = made.info.type
        if kind not in self._built:
            built: dict[ast.Call, list[str]] = {}
            self._built[kind] = built
            for name, info in self.rec.modules.items():
                if info.type == kind and (other := self.of(name)) is not None:
                    built.setdefault(other.call, []).append(name)
        return tuple(self._built[kind].get(made.call, ()))

    def stem(self, made: Expression) -> Stem | None:
        """What an integer in the user's code stems from; None where not sure."""
        return stem(made, self.scopes)

    # -- one module -----------------------------------------------------------------

    def expressions(self, name: str) -> tuple[Expression, ...]:
        """All calls that may have built a module."""
        if name not in self._known:
            self._known[name] = ()  # what asks for itself finds nothing
            info = self.rec.modules.get(name)
            if info is not None:
                found = self.candidates(name)
                fitting = [
                    one
                    for each in found
                    for one in self._settled(each, 0)
                    if self._fits(one, info)
                ]
                self._known[name] = tuple(fitting)
        return self._known[name]

    def candidates(self, name: str) -> list[Expression]:
        """The same as they stand where the module gets its name: a call of a function
        that builds it is not followed."""
        if root_of(self.rec, name) == name:
            return self._roots(name)
        replaced = list(self._set_outside(name))
        if replaced:
            return replaced
        owner, _, attribute = name.rpartition(".")
        info = self.rec.modules.get(owner)
        if info is None or info.inits and not is_own(info.inits[0]):
            return []  # what an installed package builds is no line of the user's
        found = self._in_class(owner, attribute) if info.inits else []
        if not found and info.type in CONTAINERS:
            if owner not in self._filled:
                containers = self.expressions(owner)
                self._filled[owner] = [entries(c, self.settle) for c in containers]
            for filled in self._filled[owner]:
                found += chosen(filled, attribute)
        return found

    def scopes(self, name: str) -> list[Scope]:
        """The scopes of the `__init__`s of a module's class and bases."""
        if name in self._scopes:
            return self._scopes[name]
        self._scopes[name] = found = []
        call: Expression | None = None
        info = self.rec.modules.get(name)
        made = self.expressions(name) if info is not None else ()
        if len(made) == 1 and isinstance(made[0].node, ast.Call):
            call = made[0]
        for place in info.inits if info is not None else ():
            defined = defined_at(place)
            if defined is None:
                break
            tree, home = defined
            plain = Scope(tree, home, owner=name)
            found.append(plain if call is None else bind(tree, home, call, name))
            call = _to_base(found[-1])
        return found

    def _in_class(self, owner: str, attribute: str) -> list[Expression]:
        """What the class of the owner assigns to an attribute."""
        for scope in self.scopes(owner):
            found = []
            for each in self._methods(scope):
                name = each.self_name()
                for one in bound(each, f"{name}.{attribute}"):
                    if one.item is None and not one.partial:
                        known = ((each, f"{name}.{attribute}"),)
                        found.append(Expression(one.value, each, one.repeated, known))
                for key, made, repeated in set_by_name(each.home, name):
                    if key.fullmatch(attribute):
                        found.append(Expression(made, each, repeated))
            base = _to_base(scope)
            if not found and base is not None and attribute.isdigit():
                found = chosen(entries(base, self.settle), attribute)
            if found:
                return found
        return []

    def _methods(self, init: Scope) -> Iterator[Scope]:
        """`__init__` and the methods that it calls on its own module."""
        yield init
        kind = init.class_node()
        for node, repeated in nodes(init.home):
            if not isinstance(node, ast.Call) or kind is None:
                continue
            if not isinstance(node.func, ast.Attribute):
                continue
            found = function_of(init, node.func)
            if found is not None and found[1] is not init.home:
                yield bind(*found, Expression(node, init, repeated), init.owner)

    def _own_scopes(self) -> list[Scope]:
        if self._everywhere is None:
            self._everywhere = list(own_scopes(self.rec))
        return self._everywhere

    def _roots(self, name: str) -> list[Expression]:
        """What the script assigns to the name by which it calls a root; where that is a
        parameter, all that its files build of that class."""
        info = self.rec.modules[name]
        found = [
            one
            for one in self._all_settled(unnamed(self.rec, name))
            if isinstance(one.node, ast.Call) and last_name(one.node.func) == info.type
        ]
        if found:
            return found
        called = root_expression(self.rec, name)
        if called is not None:
            found = [one for one in self._settled(called, 0) if one.node != called.node]
            if not found:
                found = self._all_settled(self._of_object(called))
            if found or not is_parameter(called):
                return [one for one in found if self._children_fit(one, name)]
        for scope in self._own_scopes():
            for node, repeated in nodes(scope.home):
                if isinstance(node, ast.Call) and last_name(node.func) == info.type:
                    made = Expression(node, scope, repeated)
                    if info.inits or self._children_fit(made, name):
                        found.append(made)
        return found

    def _of_object(self, called: Expression) -> list[Expression]:
        """What the methods of an object that is no module assign to its attribute."""
        node, kind = called.node, called.scope.class_node()
        if kind is None or not isinstance(node, ast.Attribute):
            return []
        if ast.unparse(node.value) != called.scope.self_name():
            return []
        found = []
        for method in kind.body:
            if isinstance(method, ast.FunctionDef):
                scope = Scope(called.scope.tree, method)
                for one in bound(scope, f"{scope.self_name()}.{node.attr}"):
                    if one.item is None and not one.partial:
                        found.append(Expression(one.value, scope, one.repeated))
        return found

    def _children_fit(self, made: Expression, name: str) -> bool:
        """Whether a container written there has the entries of a recorded one."""
        if self.rec.modules[name].type not in CONTAINERS:
            return True
        inside = f"{name}." if name else ""
        have = [
            info.type
            for path, info in self.rec.modules.items()
            if path.startswith(inside) and path and "." not in path[len(inside) :]
        ]
        filled = enumerate(entries(made, self.settle))
        # a name that is given again takes the place of the first, as in the dictionary
        named = {one.key.pattern if one.key else at: one for at, one in filled}
        written = [*named.values()]
        if any(one.many for one in written):
            return True
        return len(written) == len(have) and all(
            last_name(one.made.node.func) == kind
            for one, kind in zip(written, have, strict=True)
            if isinstance(one.made.node, ast.Call) and kind in CONTAINERS
        )

    def _set_outside(self, name: str) -> Iterator[Expression]:
        """`model.fc = …` and `model.classifier[6] = …` after the model was built."""
        root = root_of(self.rec, name)
        parts = name.removeprefix(f"{root}.").split(".") if root else name.split(".")
        for path, made in self._outside().get(parts[-1], ()):
            own = made.scope.self_name()
            if path[0] != own and path[1:] == parts:
                yield made
            elif own == path[0] and parts[-len(path) + 1 :] == path[1:]:
                if self._is_owner(made.scope, name, len(path) - 1):
                    yield made

    def _outside(self) -> dict[str, list[tuple[list[str], Expression]]]:
        """What the user's files assign to attributes of attributes, and to those of
        objects other than `self`, by the last name."""
        if self._replaced is None:
            self._replaced = {}
            for scope in self._own_scopes():
                for node, repeated in nodes(scope.home):
                    if isinstance(node, ast.Assign) and len(node.targets) == 1:
                        path = _path(node.targets[0])
                        if len(path) > 1 + (path[:1] == [scope.self_name()]):
                            made = Expression(node.value, scope, repeated)
                            self._replaced.setdefault(path[-1], []).append((path, made))
        return self._replaced

    def _is_owner(self, scope: Scope, name: str, depth: int) -> bool:
        """Whether a method belongs to the module so many levels above another."""
        owner = ".".join(name.split(".")[:-depth])
        info, kind = self.rec.modules.get(owner), scope.class_node()
        return info is not None and kind is not None and info.type == kind.name

    # -- expressions ----------------------------------------------------------------

    def settle(self, made: Expression) -> list[Expression]:
        """The calls that an expression stands for."""
        return self._settled(made, 0)

    def _all_settled(self, found: list[Expression]) -> list[Expression]:
        return [one for each in found for one in self._settled(each, 0)]

    def _settled(self, made: Expression, depth: int) -> list[Expression]:
        """The calls and literals that an expression may stand for."""
        node, scope = made.node, made.scope
        if depth > _DEEPEST:
            return []
        inner: list[Expression] = []
        if isinstance(node, ast.Name):
            holder = scope.holder(node.id) or scope
            known = (*made.known_as, (holder, node.id))
            for one in bound(holder, node.id):
                if one.item is None and not one.partial:
                    again = made.repeated or one.repeated
                    inner.append(Expression(one.value, holder, again, known))
            if not inner and node.id in holder.given:
                inner = [holder.given[node.id]]
        elif isinstance(node, ast.IfExp):
            inner = [made.at(node.body), made.at(node.orelse)]
        elif isinstance(node, ast.BoolOp):
            inner = [made.at(each) for each in node.values]
        elif isinstance(node, ast.NamedExpr):
            inner = [made.at(node.value)]
        elif isinstance(node, ast.Attribute) and scope.owner is not None:
            if isinstance(node.value, ast.Name) and node.value.id == scope.self_name():
                inner = self._in_class(scope.owner, node.attr)
        elif isinstance(node, ast.Call):
            inner = self._called(made)
            if not inner:
                return [made]
        else:
            return [made]
        return [found for one in inner for found in self._settled(one, depth + 1)]

    def _called(self, made: Expression) -> list[Expression]:
        """What a call of a helper of the user's returns, and what `.to(device)` and its
        like hand on; nothing for the call of a class."""
        node = made.node
        assert isinstance(node, ast.Call)
        if last_name(node.func) in _SAME:
            if isinstance(node.func, ast.Attribute) and not node.args[1:]:
                holder = ast.unparse(node.func.value)
                if holder.rpartition(".")[2] not in (
                    "nn",
                    "torch",
                    "utils",
                    "parallel",
                ):
                    return [made.at(node.func.value)]
            return [made.at(node.args[0])] if node.args else []
        found = function_of(made.scope, node.func)
        if found is None:
            return []
        inside = bind(*found, made, made.scope.owner)
        return [
            Expression(each.value, inside, made.repeated)
            for each, _ in nodes(inside.home)
            if isinstance(each, ast.Return) and each.value is not None
        ]

    def _fits(self, made: Expression, info: ModuleInfo) -> bool:
        """Whether a call may have built a module: by the name of its class, and by the
        numbers that are written out."""
        if not isinstance(made.node, ast.Call):
            return False
        known = parameters(info.qualname)
        if last_name(made.node.func) != info.type:
            # another function of a library's builds a model; a layer of torch's has
            # its own name, or one of the caller's for it: `norm(64)`
            if known is not None and not _stands_for(made, info.type):
                return False
        if known is None:
            return True
        construction = Construction(info, made)
        for name, _, _ in known:
            given, is_now = construction.argument(name), info.attributes.get(name)
            if given is not None and type(is_now) is int:
                number = value(given, self.scopes)
                if number is not None and number != is_now:
                    return False
        return True


def _stands_for(made: Expression, kind: str) -> bool:
    """Whether the name that is called may be the class: an argument, a variable."""
    assert isinstance(made.node, ast.Call)
    called, scope = made.node.func, made.scope
    if not isinstance(called, ast.Name):
        return isinstance(called, ast.Attribute) and called.attr.islower()
    holder = scope.holder(called.id) or scope
    given, default = holder.given.get(called.id), holder.default(called.id)
    standing = [given.node] if given is not None else [default] if default else []
    standing += [one.value for one in bound(holder, called.id)]
    return any(last_name(each) == kind for each in standing)


def _to_base(scope: Scope) -> Expression | None:
    """The call `super().__init__(…)` of an `__init__`."""
    for node, repeated in nodes(scope.home):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "__init__":
                return Expression(node, scope, repeated)
    return None


def _path(target: ast.expr) -> list[str]:
    """`["model", "classifier", "6"]` of `model.classifier[6]`; [] for others."""
    parts: list[str] = []
    while isinstance(target, ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Attribute):
            parts.insert(0, target.attr)
        elif isinstance(target.slice, ast.Constant):
            parts.insert(0, str(target.slice.value))
        else:
            return []
        target = target.value
    return [target.id, *parts] if isinstance(target, ast.Name) else []
