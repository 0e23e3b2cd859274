"""One expression of the user's, and its statement with something else in its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from shapetrace.records import Source
from shapetrace.source.names import spelled
from shapetrace.source.rewrite import (
    Part,
    inserted,
    lines_of,
    place_of,
    rewritten,
    span,
)
from shapetrace.source.tree import Tree, is_own, node_at

#: what a tensor is asked, and is no use of its values
_TOLD = ("size", "shape", "dim", "ndim", "numel", "device", "dtype")
_STEP = re.compile(r"\[(\d+)\]|\['(\w+)'\]")


@dataclass(frozen=True, slots=True)
class Line:
    """An expression in the user's code. Every method that returns text returns the
    whole statement around it as it would read, to stand in the lines of `source`.

    `tree` is the expression; of `x += y` it is `x + y`, of which the left side is not
    to be replaced.
    """

    source: Source
    file: Tree
    node: ast.expr | ast.stmt
    tree: ast.expr

    @property
    def code(self) -> str:
        """The expression as it was written."""
        return self.file.text(self.node)

    def text(self, node: ast.expr) -> str:
        """The code of a part of the expression."""
        return self.file.text(node)

    def with_part(self, node: ast.AST, new: str) -> str:
        """One part of the expression replaced."""
        return self.with_parts([(node, new)])

    def with_parts(self, parts: list[Part]) -> str:
        return rewritten(self.file, parts, self.node)[0]

    def around(self, new: str) -> str:
        """The expression replaced."""
        return self.with_part(self.node, new)

    def named(self, name: str) -> list[ast.Name]:
        """Where the statement's own lines read a variable, and not its size alone."""
        statement = self.file.statement(self.node)
        first, last = lines_of(self.file, self.node)
        asked = {
            node.value
            for node in ast.walk(statement)
            if isinstance(node, ast.Attribute) and node.attr in _TOLD
        }
        return [
            node
            for node in ast.walk(statement)
            if isinstance(node, ast.Name)
            and node.id == name
            and node not in asked
            and isinstance(node.ctx, ast.Load)
            and first <= node.lineno <= last
        ]

    def with_keyword(
        self, name: str, value: str, *, absent: bool = False
    ) -> str | None:
        """A call with one of its keywords set, added where it is not there. `absent`:
        it is known not to be among `**kwargs`."""
        part = keyword(self.file, self.tree, name, value, absent=absent)
        return None if part is None else self.with_parts([part])

    def without_call(self) -> str | None:
        """A call left out: its object, or its first argument, in its place."""
        kept = self.argument("args[0]", method=True)
        return None if kept is None else self.around(self.text(kept))

    def swapped(self, a: ast.expr, b: ast.expr) -> str:
        """Two parts in each other's place."""
        return self.with_parts([(a, self.text(b)), (b, self.text(a))])

    def inserted(self, code: str, *, after: bool = False) -> str:
        """The statement as it is, with another one before or after it."""
        return inserted(self.file, self.node, code, after=after)[0]

    def spelled(self, code: str) -> str:
        """Code with `nn`, `F` and `torch` as this file calls them."""
        return spelled(code, self.file.file)

    def argument(self, path: str, method: bool = False) -> ast.expr | None:
        """The expression of one argument, by a tensor's path: `args[0]`, also in a
        list (`args[0][1]`) and of a method, whose object is `args[0]`. `method`: the
        call is known to be one."""
        head, _, rest = path.partition("[")
        steps = _STEP.findall("[" + rest)
        if not steps:
            return None
        node = self._first(head, steps[0][0] or steps[0][1], method)
        for index, _ in steps[1:]:
            if not isinstance(node, (ast.List, ast.Tuple)) or not index:
                return None
            if int(index) >= len(node.elts):
                return None
            node = node.elts[int(index)]
        return None if isinstance(node, ast.Starred) else node

    def with_starred(self, path: str, change: Callable[[str], str]) -> str | None:
        """The statement with one item of a starred argument changed: `f(*parts)` as
        `f(change(parts[0]), *parts[1:])`. None where the argument is not starred."""
        found = _STEP.fullmatch(path.removeprefix("args"))
        if not isinstance(self.tree, ast.Call) or found is None or not found[1]:
            return None
        for at, value in enumerate(self.tree.args):
            if isinstance(value, ast.Starred):
                if not isinstance(value.value, ast.Name | ast.Attribute):
                    return None
                name, item = self.text(value.value), int(found[1]) - at
                before = f"*{name}[:{item}], " if item > 0 else ""
                changed = f"{change(f'{name}[{item}]')}, *{name}[{item + 1}:]"
                return self.with_part(value, before + changed) if item >= 0 else None
        return None

    def _first(self, head: str, key: str, method: bool) -> ast.expr | None:
        tree = self.tree
        if head == "kwargs" and not isinstance(tree, ast.Call):
            return None  # an operator has operands, and no names for them
        if isinstance(tree, ast.BinOp):
            return tree.left if key == "0" else tree.right
        if isinstance(tree, ast.Compare) and len(tree.comparators) == 1:
            return tree.left if key == "0" else tree.comparators[0]
        if isinstance(tree, ast.Subscript):
            if key == "2":  # what is written to the places
                around = self.file.parents.get(tree)
                return around.value if isinstance(around, ast.Assign) else None
            return tree.value if key == "0" else tree.slice
        if not isinstance(tree, ast.Call):
            return None
        if head == "kwargs":
            for found in tree.keywords:
                if found.arg == key:
                    return found.value
            return None
        values = [*self._object(method), *tree.args]
        if any(isinstance(value, ast.Starred) for value in values[: int(key) + 1]):
            return None
        return values[int(key)] if int(key) < len(values) else None

    def _object(self, method: bool) -> list[ast.expr]:
        """The object of a tensor's method; a function of a module has none."""
        func = self.tree.func if isinstance(self.tree, ast.Call) else None
        if not isinstance(func, ast.Attribute) or _is_module(func.value):
            return []
        return [func.value] if method or func.attr in _METHODS else []


_MODULES = ("torch", "F", "nn", "self", "functional")
#: methods of a tensor that fixes are about; `self.view(x)` is the user's own
_METHODS = frozenset(
    "view reshape flatten squeeze unsqueeze permute transpose matmul mm bmm add mul "
    "sub div expand repeat size cat to t unflatten gather scatter masked_fill".split()
)


def _is_module(node: ast.expr) -> bool:
    """`torch`, `F`, `nn.functional`, `self`: what holds functions."""
    while isinstance(node, ast.Attribute):
        node = node.value
        if isinstance(node, ast.Name) and node.id == "self":
            return False
    return isinstance(node, ast.Name) and node.id in _MODULES


def find(source: Source | None) -> Line | None:
    """The expression at a place of the user's own code; None where it is not known."""
    found = node_at(source) if is_own(source) else None
    return None if found is None else line_of(*found)


def line_of(tree: Tree, node: ast.expr | ast.stmt) -> Line:
    """An expression of a file as a `Line`."""
    place = place_of(tree, node)
    if isinstance(node, ast.AugAssign):
        left = ast.Starred(node.target, ast.Load())
        return Line(place, tree, node, ast.BinOp(left, node.op, node.value))
    assert isinstance(node, ast.expr)
    return Line(place, tree, node, node)


def keyword(
    tree: Tree, call: ast.expr, name: str, value: str, *, absent: bool = False
) -> Part | None:
    """What sets a keyword of a call; None where that cannot be told: `**kwargs` may
    hold it, unless it is known to be absent."""
    if not isinstance(call, ast.Call):
        return None
    if not absent and any(given.arg is None for given in call.keywords):
        return None
    for given in call.keywords:
        if given.arg == name:
            return given.value, value
    values = [*call.args, *call.keywords] or [call.func]
    last = max(values, key=lambda node: span(node)[2:])
    (line, column), end = span(last)[2:], span(call)[2:]
    raw = tree.between((line, column), end)[:-1]
    rest = raw.rstrip()
    if isinstance(last, ast.GeneratorExp) or "#" in rest:
        return None
    line += rest.count("\n")
    column = len(rest.rpartition("\n")[2].encode()) + column * ("\n" not in rest)
    at = (line, column, line, column)
    if last is call.func:
        return at, f"{name}={value}"
    if not rest.endswith(","):
        return at, f", {name}={value}"
    if "\n" not in raw[len(rest) :]:
        return (line, column, end[0], end[1] - 1), f" {name}={value}"
    above = tree.lines[span(last)[0] - 1]
    return at, f"\n{above[: len(above) - len(above.lstrip())]}{name}={value},"


def suffixed(text: str, node: ast.expr | None, template: str) -> str:
    """The template around an expression, in parentheses where it needs them; what takes
    back the expression's own last call is that call left out.

    >>> node = ast.parse("y.unsqueeze(1)", mode="eval").body
    >>> suffixed("y.unsqueeze(1)", node, "{}.squeeze(1)")
    'y'
    """
    kept = _before(text, node, template)
    if kept is not None:
        return kept
    safe = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)
    simple = text.isidentifier() if node is None else isinstance(node, safe)
    starts = template.startswith("{}") and template != "{}"
    return template.replace("{}", text if simple or not starts else f"({text})")


_BACK = {"squeeze": "unsqueeze", "unsqueeze": "squeeze"}


def _before(text: str, node: ast.expr | None, template: str) -> str | None:
    """What `y.unsqueeze(1)` is called on, where the template is `{}.squeeze(1)`."""
    func = node.func if isinstance(node, ast.Call) else None
    if not isinstance(func, ast.Attribute) or func.attr not in _BACK:
        return None
    last, _, given = template.removeprefix("{}.").partition("(")
    call = f".{func.attr}({given}"
    if last != _BACK[func.attr] or template != f"{{}}.{last}({given}":
        return None
    return text.removesuffix(call) if text.endswith(call) else None
