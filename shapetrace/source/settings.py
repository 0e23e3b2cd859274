"""The expressions by which layers are told their sizes: what a block is given where it
is built, what a name is assigned, a default. And what all follows one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.source.constructor import parameters
from shapetrace.source.finder import Constructions
from shapetrace.source.integers import Inits, Instead, value
from shapetrace.source.scope import Expression, Scope, bound
from shapetrace.source.tree import is_own

_DEEPEST = 6  # names that stand for one another
_LAYERS = 60  # of a part of the model that are asked whether they follow


def settings_behind(made: Expression, inits: Inits) -> Iterator[Expression]:
    """The expressions of the user's that an argument's number comes from, the nearest
    first, itself left out: the `64` of `Block(64)` for the `n` of `nn.Conv2d(n, n)`."""
    seen: set[ast.expr] = set()
    todo = [(made, 0)]
    while todo:
        one, depth = todo.pop(0)
        for node in ast.walk(one.node):
            if not isinstance(node, ast.Name | ast.Attribute):
                continue
            for found in _set(one.at(node), inits):
                if found.node in seen or depth > _DEEPEST:
                    continue
                seen.add(found.node)
                if is_own(found.source):
                    yield found
                todo.append((found, depth + 1))


def _set(made: Expression, inits: Inits) -> Iterator[Expression]:
    """What a name, or an attribute of the module itself, is given, where that is one
    thing."""
    node, scope = made.node, made.scope
    if isinstance(node, ast.Attribute):
        if scope.owner is None or ast.unparse(node.value) != scope.self_name():
            return
        for init in inits(scope.owner):
            ways = bound(init, f"{init.self_name()}.{node.attr}")
            if len(ways) == 1 and ways[0].item is None and not ways[0].partial:
                yield Expression(ways[0].value, init)
        return
    assert isinstance(node, ast.Name)
    holder = scope.holder(node.id)
    if holder is None:
        return
    ways = bound(holder, node.id)
    if len(ways) == 1 and ways[0].item is None and not ways[0].partial:
        yield Expression(ways[0].value, holder)
    elif node.id in holder.given and not ways:
        yield holder.given[node.id]
    elif not ways and (default := holder.default(node.id)) is not None:
        yield Expression(default, Scope(holder.tree, holder.tree.home(holder.home)))


def written_at(text: str, old: ast.expr) -> ast.expr:
    """An expression that is to stand in the place of another."""
    new = ast.parse(text, mode="eval").body
    for node in ast.walk(new):
        if isinstance(node, ast.expr):
            ast.copy_location(node, old)
    return new


def followers(
    finder: Constructions, made: Expression, within: str, now: Instead, instead: Instead
) -> dict[str, dict[str, int]] | None:
    """The layers of torch's that are built otherwise with another expression in the
    place of one, each with the arguments that are others then; `within`: a module that
    is. None where too many would have to be asked. `now`: the number that it is, where
    the source does not say."""
    found: dict[str, dict[str, int]] = {}
    names = _reached(finder, made, within)
    if len(names) > _LAYERS:
        return None
    for name in names:
        built = finder.of(name)
        info = finder.rec.modules[name]
        if built is None:
            continue
        for key, _, _ in parameters(info.qualname) or ():
            old, has = built.argument(key), info.attributes.get(key)
            if old is None or isinstance(old.node, ast.Constant):
                continue
            new = value(old, finder.scopes, instead)
            is_known = value(old, finder.scopes, now) == has
            if new is not None and new != has and is_known:
                found.setdefault(name, {})[key] = new
    return found


def _reached(finder: Constructions, made: Expression, within: str) -> list[str]:
    """The layers of torch's that an expression may be for."""
    modules, owner = finder.rec.modules, made.scope.owner
    owners = [""]
    holder = within
    while holder:
        holder = holder.rpartition(".")[0]
        block = finder.of(holder)
        if block is not None and made.node in [*ast.walk(block.call)]:
            owners = [*finder.built_by(block)]  # what that call builds, and no more
            break
    else:
        if owner is not None and modules[owner].inits:
            first = modules[owner].inits[0]
            owners = [n for n, i in modules.items() if i.inits[:1] == (first,)]
    inside = tuple(f"{one}." if one else "" for one in owners)
    return [
        name
        for name, info in modules.items()
        if name.startswith(inside) and parameters(info.qualname) is not None
    ]
