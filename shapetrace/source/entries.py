"""What stands for a container's entries in the code that fills it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shapetrace.source.scope import Expression, nodes
from shapetrace.source.tree import Home, last_name

#: reduces an expression to the calls and literals that it may stand for
Settle = Callable[[Expression], list[Expression]]

CONTAINERS = frozenset({"Sequential", "ModuleList", "ModuleDict"})
_MAPPINGS = ("OrderedDict", "dict")
_LITERALS = (ast.List, ast.Tuple, ast.Set)


@dataclass(frozen=True, slots=True)
class Entry:
    """One expression among those that fill a container. `key` matches its name, None
    is the next number. `many`: it may stand for several entries."""

    made: Expression
    key: re.Pattern[str] | None = None
    many: bool = False


def entries(container: Expression, settle: Settle) -> list[Entry]:
    """All that fills a container, from its constructor and from what comes after."""
    found: list[Entry] = []
    node = container.node
    if isinstance(node, ast.Call):
        for value in node.args:
            if isinstance(value, ast.Starred):
                for one in settle(container.at(value.value)):
                    found += list_items(one, settle)
            elif last_name(node.func) in ("ModuleList", "ModuleDict"):
                for one in settle(container.at(value)):
                    found += list_items(one, settle)
            else:
                mapping = _mapping(container.at(value), settle)
                found += mapping or [Entry(container.at(value))]
    else:
        found += list_items(container, settle)
    return found + _added(container, settle)


def chosen(filled: list[Entry], key: str) -> list[Expression]:
    """The entries that may have a key: the one of its number where all are counted."""
    named = [one for one in filled if one.key is not None and one.key.fullmatch(key)]
    if named:
        return [_of_entry(one) for one in named]
    counted = [one for one in filled if one.key is None]
    if not key.isdigit():
        return []
    if any(one.many for one in counted[: int(key) + 1]):
        first = next(n for n, one in enumerate(counted) if one.many)
        if int(key) >= first:
            return [_of_entry(one) for one in counted[first:]]
    return [_of_entry(one) for one in counted[int(key) : int(key) + 1]]


def _of_entry(one: Entry) -> Expression:
    made = one.made
    again = made.repeated or one.many
    return Expression(made.node, made.scope, again, made.known_as)


def list_items(made: Expression, settle: Settle) -> list[Entry]:
    """The items of a list, of a comprehension, of a mapping, and of sums of lists."""
    node = made.node
    if isinstance(node, _LITERALS):
        found = []
        for item in node.elts:
            if isinstance(item, ast.Starred):
                for one in settle(made.at(item.value)):
                    found += list_items(one, settle)
            else:
                found.append(Entry(made.at(item), many=made.repeated))
        return found + _added(made, settle)
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
        return [Entry(Expression(node.elt, made.scope, True), many=True)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        both = (node.left, node.right)
        found = []
        for side in both:
            for one in settle(made.at(side)):
                found += list_items(one, settle)
        return found
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [
            Entry(one.made, one.key, True)
            for settled in settle(made.at(node.left))
            for one in list_items(settled, settle)
        ]
    return _mapping(made, settle)


def _mapping(made: Expression, settle: Settle) -> list[Entry]:
    """The items of a dict, `OrderedDict([("name", …)])` and comprehensions of them."""
    found: list[Entry] = []
    for one in settle(made):
        node = one.node
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is not None:
                    found.append(Entry(one.at(value), _pattern(key), one.repeated))
        elif isinstance(node, ast.DictComp):
            inside = Expression(node.value, one.scope, True)
            found.append(Entry(inside, _pattern(node.key), True))
        elif isinstance(node, ast.Call) and last_name(node.func) in _MAPPINGS:
            for keyword in node.keywords:
                if keyword.arg is not None:
                    name = re.compile(re.escape(keyword.arg))
                    found.append(Entry(one.at(keyword.value), name))
            for value in node.args:
                found += _pairs(one.at(value), settle)
    return found


def _pairs(made: Expression, settle: Settle) -> list[Entry]:
    found: list[Entry] = []
    for one in settle(made):
        if isinstance(one.node, ast.Dict):
            found += _mapping(one, settle)
            continue
        for item in list_items(one, settle):
            pair = item.made.node
            if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
                value = Expression(
                    pair.elts[1], item.made.scope, item.made.repeated or item.many
                )
                found.append(Entry(value, _pattern(pair.elts[0]), item.many))
    return found


def _added(container: Expression, settle: Settle) -> list[Entry]:
    """What is appended and set later, under any of the container's names."""
    found: list[Entry] = []
    for scope, name in container.known_as:
        for node, repeated in nodes(scope.home):
            for key, value, spread in _additions(node, name):
                made = Expression(value, scope, repeated)
                if not spread:
                    found.append(Entry(made, key, repeated))
                    continue
                for one in settle(made):
                    found += [
                        Entry(item.made, item.key, item.many or repeated)
                        for item in list_items(one, settle)
                    ]
    return found


Addition = tuple[re.Pattern[str] | None, ast.expr, bool]


def _additions(node: ast.AST, name: str) -> Iterator[Addition]:
    """Key, value and whether the value is a list of values."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        if ast.unparse(node.targets[0].value) == name:
            yield _pattern(node.targets[0].slice), node.value, False
    elif isinstance(node, ast.AugAssign) and ast.unparse(node.target) == name:
        yield None, node.value, True
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if not node.args or ast.unparse(node.func.value) != name:
            return
        last = node.args[-1]
        if node.func.attr in ("append", "insert"):
            yield None, last, False
        elif node.func.attr == "extend":
            yield None, last, True
        elif node.func.attr in ("add_module", "register_module"):
            yield _pattern(node.args[0]), last, False


#: the key that matches a module's name, what it is set to, and whether in a loop
Named = tuple[re.Pattern[str], ast.expr, bool]


@functools.lru_cache(maxsize=1024)
def set_by_name(home: Home, name: str) -> tuple[Named, ...]:
    """What `self.add_module("fc", …)` and `setattr(self, "fc", …)` set in a function;
    kept, since every instance of a class asks for each of its modules."""
    found: list[Named] = []
    for node, repeated in nodes(home):
        if not isinstance(node, ast.Call) or last_name(node.func) == "append":
            continue
        if last_name(node.func) == "setattr":
            if len(node.args) == 3 and ast.unparse(node.args[0]) == name:
                found.append((_pattern(node.args[1]), node.args[2], repeated))
            continue
        for key, value, _ in _additions(node, name):
            if key is not None:
                found.append((key, value, repeated))
    return tuple(found)


def _pattern(key: ast.expr) -> re.Pattern[str]:
    """What a key may be: a word, a number, or of `f"conv{i}"` anything after conv."""
    if isinstance(key, ast.Constant):
        return re.compile(re.escape(str(key.value)))
    if isinstance(key, ast.JoinedStr):
        parts = [
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
            for part in key.values
        ]
        return re.compile("".join(parts))
    if isinstance(key, ast.UnaryOp) and isinstance(key.op, ast.USub):
        return re.compile(r"\d+")  # `model.classifier[-1] = …`: which one is not said
    return re.compile(".+")
