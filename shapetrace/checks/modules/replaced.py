"""Two layers that are put into a container under one name: the second takes the place
of the first, and what stands between them goes on without."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import explained
from shapetrace.records import Culprit, Diagnosis, ModuleCall, ModuleInfo
from shapetrace.source.entries import entries
from shapetrace.source.scope import Expression, Scope, bound, nodes
from shapetrace.source.tree import Home, Tree, is_own, last_name, tree

#: methods that give a container a layer under a name
_ADDS = ("add_module", "register_module")
#: containers that are built of names and layers
_DICTIONARIES = ("Sequential", "ModuleDict")
#: what stands around a statement that need not run, or runs again
_BRANCHES = (ast.Try, ast.For, ast.While)


class Named(NamedTuple):
    """A layer that is given a name: in which container, and where that is written."""

    container: str
    name: str
    node: ast.expr
    under: tuple[str, ...]


@check(
    "layer-replaced",
    "warning",
    "two layers under one name in a container are one: the second takes the place of "
    "the first, and the model has a layer less than is written",
)
def layer_replaced(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    modules = context.graph.rec.modules
    called = {call.name: call for call in reversed(context.graph.rec.calls)}
    named = {
        name.rpartition(".")[0]
        for name in called
        if name and not name.rpartition(".")[2].isdigit()
    }
    told: set[ast.expr] = set()
    added: dict[Home, list[tuple[Named, Named]]] = {}
    for info in modules.values():
        for file, home in _written(info):
            if home not in added:
                added[home] = [*_twice(_named(file, home))]
            for first, second in added[home]:
                call = _container(called, info.name, second)
                if call is not None and second.node not in told:
                    told.add(second.node)
                    yield _replaced(context, rule, file, call, first, second)
        if info.type not in _DICTIONARIES or info.name not in named:
            continue
        for made in context.graph.constructions.expressions(info.name):
            for first, second in _twice(_items(context, made)):
                path = f"{info.name}.{second.name}".removeprefix(".")
                if path in called and second.node not in told and is_own(made.source):
                    told.add(second.node)
                    file = made.scope.tree
                    yield _replaced(context, rule, file, called[path], first, second)


def _written(info: ModuleInfo) -> Iterator[tuple[Tree, Home]]:
    """The constructors of the user's that made a module, with the methods of its class
    that they call: those are read with the class."""
    for init in info.inits:
        file = tree(init.file) if is_own(init) else None
        home = file.defined_at(init.line) if file is not None else None
        if file is not None and home is not None:
            yield file, home


def _named(file: Tree, home: Home) -> Iterator[Named]:
    """All layers that are added under a constant name."""
    scope = Scope(file, home)
    for node, _ in nodes(home):
        if not isinstance(node, ast.Call):
            continue
        if last_name(node.func) in _ADDS and isinstance(node.func, ast.Attribute):
            if len(node.args) == 2 and (name := _constant(node.args[0])):
                container = ast.unparse(node.func.value)
                before = sum(
                    one.value.lineno <= node.lineno for one in bound(scope, container)
                )
                under = (*_conditions(file, node, home), f"made {before} times")
                yield Named(container, name, node, under)


def _items(context: CheckContext, made: Expression) -> Iterator[Named]:
    """The layers of a container that is built of a dictionary, or of pairs."""
    for one in entries(made, context.graph.constructions.settle):
        node = one.made.node
        within = made.node in (node, *made.scope.tree.around(node))
        if one.key is not None and within:
            yield Named("", one.key.pattern, node, ())


def _constant(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def _conditions(file: Tree, node: ast.expr, home: Home) -> tuple[str, ...]:
    """The branches that a statement stands in, in words: those of the same words are
    taken together."""
    found: list[str] = []
    inner: ast.AST = node
    for outer in file.around(node):
        if outer is home:
            break
        if isinstance(outer, ast.If):
            way = "then" if inner in outer.body else "else"
            found.append(f"{way} {ast.unparse(outer.test)}")
        elif isinstance(outer, ast.Match):
            found.append(f"{id(inner)}")
        elif isinstance(outer, _BRANCHES):
            found.append(f"{id(outer)} {inner in outer.body}")
        inner = outer
    return tuple(found)


def _twice(layers: Iterator[Named]) -> Iterator[tuple[Named, Named]]:
    """Each layer with the next one of its name that is given it wherever it is."""
    seen: dict[tuple[str, str, tuple[str, ...]], Named] = {}
    for one in layers:
        key = one.container, one.name, one.under
        if key in seen:
            yield seen[key], one
        seen[key] = one


def _container(
    called: dict[str, ModuleCall], owner: str, layer: Named
) -> ModuleCall | None:
    """The first call of the layer under that name, in the module that was built, where
    it is of the class that is written there: other branches give others."""
    call = _under(called, owner, layer)
    made = layer.node.args[1] if isinstance(layer.node, ast.Call) else None
    kind = last_name(made.func) if isinstance(made, ast.Call) else ""
    return call if call is not None and call.type == kind else None


def _under(
    called: dict[str, ModuleCall], owner: str, layer: Named
) -> ModuleCall | None:
    inside = f"{owner}." if owner else ""
    _, _, path = layer.container.partition(".")
    if layer.container.startswith("self."):
        return called.get(f"{inside}{path}.{layer.name}")
    found = [
        call
        for name, call in called.items()
        if name.startswith(inside) and name.rpartition(".")[2] == layer.name
    ]
    return found[-1] if found else None


def _replaced(
    context: CheckContext,
    rule: Check,
    file: Tree,
    call: ModuleCall,
    first: Named,
    second: Named,
) -> Diagnosis:
    place, again = file.place(first.node), file.place(second.node)
    said = context.graph.said(call.name)
    reason = f"takes the place of that of line {place.line}"
    container = call.name.rpartition(".")[0]
    found = Diagnosis(
        code=rule.code,
        severity=rule.severity,
        message=f"the layer that {place} names '{first.name}' is not in the model: "
        f"{again} gives the same name to another, and {said} is called in its place "
        "alone.",
        where=f"module:{call.name}",
        module=call.name,
        source=call.source,
        culprits=(
            Culprit("module", call.name, source=again, reason=reason),
            Culprit("module", container, source=call.source),
        ),
        call=call.index,
    )
    return explained(context.graph.rec, found, [])
