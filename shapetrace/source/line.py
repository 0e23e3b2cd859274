"""The user's line, with one of its expressions put in place of another."""

from __future__ import annotations

import ast
import linecache
import re
from dataclasses import dataclass

from shapetrace.records import Source

_LIBRARIES = re.compile(r"[/\\](site|dist)-packages[/\\]")
_STEP = re.compile(r"\[(\d+)\]|\['(\w+)'\]")


def is_own(source: Source | None) -> bool:
    """Whether a place is the user's own code: what can be edited, no installed
    library's."""
    return source is not None and not _LIBRARIES.search(source.file)


@dataclass(frozen=True, slots=True)
class Line:
    """One expression in the user's code, and the code around it on its lines."""

    source: Source
    before: str
    code: str
    after: str
    tree: ast.expr

    def text(self, node: ast.expr) -> str:
        """The code of a part of the expression."""
        return ast.get_source_segment(f"({self.code})", node) or ast.unparse(node)

    def with_part(self, node: ast.expr, new: str) -> str:
        """The whole line with one part of the expression replaced."""
        return self.with_parts([(node, new)])

    def with_parts(self, parts: list[tuple[ast.expr, str]]) -> str:
        raw = f"({self.code})".encode()
        starts = [0]
        for line in raw.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        spans = []
        for node, new in parts:
            assert node.end_lineno is not None and node.end_col_offset is not None
            first = starts[node.lineno - 1] + node.col_offset
            last = starts[node.end_lineno - 1] + node.end_col_offset
            spans.append((first, last, new))
        for first, last, new in sorted(spans, reverse=True):
            raw = raw[:first] + new.encode() + raw[last:]
        return self.around(raw.decode()[1:-1])

    def around(self, new: str) -> str:
        """The whole line with the expression replaced."""
        joined = " ".join(part.strip() for part in new.split("\n"))
        return (self.before + joined + self.after).strip()

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

    def _first(self, head: str, key: str, method: bool) -> ast.expr | None:
        tree = self.tree
        if isinstance(tree, ast.BinOp):
            return tree.left if key == "0" else tree.right
        if isinstance(tree, ast.Subscript):
            return tree.value if key == "0" else None
        if not isinstance(tree, ast.Call):
            return None
        if head == "kwargs":
            for keyword in tree.keywords:
                if keyword.arg == key:
                    return keyword.value
            return None
        values = [*self._object(method), *tree.args]
        if any(isinstance(value, ast.Starred) for value in values):
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
    if source is None or source.column is None or source.end_column is None:
        return None
    if not is_own(source):
        return None
    last = source.end_line or source.line
    raw = [linecache.getline(source.file, n) for n in range(source.line, last + 1)]
    if not raw or not all(raw):
        return None
    lines = [line.rstrip("\n").encode() for line in raw]
    after = lines[-1][source.end_column :].decode(errors="replace")
    before = lines[0][: source.column].decode(errors="replace")
    lines[-1] = lines[-1][: source.end_column]
    lines[0] = lines[0][source.column :]
    code = "\n".join(line.decode(errors="replace") for line in lines)
    if len(lines) > 1 and "#" in code:
        return None  # a comment in the middle does not survive on one line
    try:
        tree = ast.parse(f"({code})", mode="eval").body
    except SyntaxError:
        added = _augmented(code)
        return None if added is None else Line(source, before, code, after, added)
    return Line(source, before, code, after, tree)


def _augmented(code: str) -> ast.BinOp | None:
    """`x += y` on one line as `x + y`, of which the left side is not to be replaced."""
    try:
        statement = ast.parse(code).body[0]
    except (SyntaxError, IndexError):  # another statement
        return None
    if not isinstance(statement, ast.AugAssign) or "\n" in code:
        return None
    for node in ast.walk(statement.value):  # as it would stand in parentheses
        if isinstance(node, ast.expr) and node.end_col_offset is not None:
            node.col_offset += 1
            node.end_col_offset += 1
    left = ast.Starred(statement.target, ast.Load())
    return ast.BinOp(left, statement.op, statement.value)


def suffixed(text: str, node: ast.expr | None, template: str) -> str:
    """The template around an expression, in parentheses where it needs them."""
    safe = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)
    simple = text.isidentifier() if node is None else isinstance(node, safe)
    starts = template.startswith("{}") and template != "{}"
    return template.replace("{}", text if simple or not starts else f"({text})")
