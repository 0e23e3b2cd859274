"""The user's files as syntax trees: which node stands at a place, what is around."""

from __future__ import annotations

import ast
import functools
import linecache
import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field

from shapetrace.records import Source
from shapetrace.source.lines import code_lines
from shapetrace.source.place import cell

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Home = Function | ast.Module

_LIBRARIES = re.compile(r"[/\\](?:site|dist)-packages[/\\]")
_STANDARD = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep
#: the names under which IPython compiles a notebook's cells: those of one kernel share
#: all that stands before the last part
_CELL = re.compile(r"(<ipython-input-|.*[/\\]ipykernel_\d+[/\\])")


def is_own(source: Source | None) -> bool:
    """Whether a place is the user's own code: what can be edited, no installed
    library's."""
    return source is not None and is_own_file(source.file)


def package_of(source: Source) -> str:
    """The library that a place belongs to; its file's name for the user's own."""
    parts = re.split(r"[/\\]", _LIBRARIES.split(source.file)[-1])
    return parts[0].removesuffix(".py") if _LIBRARIES.search(source.file) else parts[-1]


@functools.lru_cache(maxsize=256)
def is_own_file(file: str) -> bool:
    """Whether a file is no installed library's."""
    try:
        path = os.path.realpath(file)
    except FileNotFoundError:  # of a working directory that is gone
        path = file
    except ValueError:  # of a damaged report: a name that no file can have
        return False
    return not (_LIBRARIES.search(file) or path.startswith(_STANDARD))


def last_name(node: ast.expr) -> str:
    """`Linear` of `torch.nn.Linear`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@dataclass(frozen=True, eq=False)
class Tree:
    """A parsed file. Nodes keep the positions that the file gives them."""

    file: str
    lines: tuple[str, ...]
    module: ast.Module
    #: all nodes that stand somewhere, the outer before those in them
    nodes: list[ast.AST] = field(repr=False)
    parents: dict[ast.AST, ast.AST] = field(repr=False)

    @functools.cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """All functions of the file, the outer before those in them."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        return [node for node in self.nodes if isinstance(node, kinds)]

    @functools.cached_property
    def _named(self) -> dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]]:
        found: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        for each in self.functions:
            found.setdefault(each.name, []).append(each)
        return found

    @functools.cached_property
    def generators(self) -> set[Home]:
        """The functions with a `yield`."""
        return {self.home(node) for node in self.nodes if isinstance(node, ast.Yield)}

    @functools.cached_property
    def ends(self) -> dict[tuple[int, int], list[ast.expr | ast.AugAssign]]:
        """The expressions by the line and the byte where they end."""
        found: dict[tuple[int, int], list[ast.expr | ast.AugAssign]] = {}
        kinds = (ast.expr, ast.AugAssign)
        for node in self.nodes:
            if isinstance(node, kinds):
                end = node.end_lineno or 0, node.end_col_offset or 0
                found.setdefault(end, []).append(node)
        return found

    @functools.cached_property
    def statements(self) -> list[ast.stmt]:
        """All statements of the file, the outer before those in them."""
        return [node for node in self.nodes if isinstance(node, ast.stmt)]

    @functools.cached_property
    def calls(self) -> dict[str, list[ast.Call]]:
        """The calls by the last name of what they call: `Linear` of `nn.Linear(…)`."""
        found: dict[str, list[ast.Call]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Call):
                found.setdefault(last_name(node.func), []).append(node)
        return found

    def defined_at(self, line: int) -> Function | None:
        """The function whose definition, with its decorators, begins at a line."""
        return next((each for each in self.functions if _first(each) == line), None)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around one, the innermost first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that a node is a part of, or is."""
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
        return node

    def home(self, node: ast.AST) -> Home:
        """The function in which a node stands, the module where in none. The defaults
        and decorators of a function stand outside of it."""
        inner = node
        for outer in self.around(node):
            if isinstance(outer, Function):
                if inner in _inside(outer):
                    return outer
            inner = outer
        return self.module

    def function(self, name: str, home: Home) -> Function | None:
        """The function that a name stands for in the code of `home`: the last of that
        name in it, or else in what is around it. None where the file has none."""
        named = self._named.get(name, [])
        while True:
            here = [each for each in named if self.home(each) is home]
            plain = [each for each in here if not self._is_method(each)]
            if plain or home is self.module:
                return plain[-1] if plain else None
            home = self.home(home)

    def _is_method(self, function: Function) -> bool:
        return isinstance(self.parents.get(function), ast.ClassDef)

    def text(self, node: ast.AST) -> str:
        """The code of a node, as it was written."""
        if not isinstance(node, ast.expr | ast.stmt | ast.keyword):
            return ast.unparse(node)
        if node.end_lineno is None or node.end_col_offset is None:
            return ast.unparse(node)
        end = node.end_lineno, node.end_col_offset
        return self.between((node.lineno, node.col_offset), end)

    def between(self, begin: tuple[int, int], end: tuple[int, int]) -> str:
        """The code from one line and byte to another."""
        raw = [line.encode() for line in self.lines[begin[0] - 1 : end[0]]]
        raw[-1] = raw[-1][: end[1]]
        raw[0] = raw[0][begin[1] :]
        return b"".join(raw).decode(errors="replace")

    def place(self, node: ast.expr | ast.stmt | ast.arg) -> Source:
        """Where a node stands."""
        return Source(
            self.file,
            node.lineno,
            self.name(node),
            node.end_lineno,
            node.col_offset,
            node.end_col_offset,
            cell(self.file),
        )

    def name(self, node: ast.AST) -> str:
        """The function around a node, as Python calls it: `Net.forward`."""
        parts: list[str] = []
        inner = node
        for outer in self.around(node):
            if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef):
                if inner in _inside(outer):
                    parts = [outer.name, "<locals>", *parts] if parts else [outer.name]
            elif isinstance(outer, ast.ClassDef) and inner in outer.body:
                parts = [outer.name, *parts]
            inner = outer
        return ".".join(parts) or "<module>"


def _inside(function: Function) -> list[ast.AST]:
    body = function.body
    return [body] if isinstance(body, ast.expr) else list(body)


def _first(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The first line of a function, its decorators included."""
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def tree(file: str) -> Tree | None:
    """The tree of a file, or of what stands for one in `linecache`: a notebook's cell,
    code that was run by `exec`. None where there is none."""
    lines = code_lines(file)
    if not lines:
        return None
    known = _NEWEST.get(file)
    if known is None or known[0] is not lines:
        # the same list as long as the file has not changed: told without comparing it
        known = _NEWEST[file] = lines, _parsed(file, tuple(lines))
    return known[1]


#: a cache of a pure function of the list of lines that linecache holds
_NEWEST: dict[str, tuple[list[str], Tree | None]] = {}


@functools.lru_cache(maxsize=32)
def _parsed(file: str, lines: tuple[str, ...]) -> Tree | None:
    try:
        module = ast.parse("".join(lines))
    except (SyntaxError, ValueError):  # a template, a file that changed meanwhile
        return None
    nodes: list[ast.AST] = [module]
    parents: dict[ast.AST, ast.AST] = {}
    for node in nodes:  # which grows meanwhile
        for child in _children(node):
            parents[child] = node
            nodes.append(child)
    return Tree(file, lines, module, nodes, parents)


#: nodes that stand nowhere: `ast` has one of each for all files
_SHARED = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """As `ast.iter_child_nodes`, in a third of its time."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            for each in value:
                if isinstance(each, ast.AST) and not isinstance(each, _SHARED):
                    yield each
        elif isinstance(value, ast.AST) and not isinstance(value, _SHARED):
            yield value


def neighbours(file: str) -> list[Tree]:
    """The files whose names a file's code sees: of a notebook all cells that were run,
    the file itself first and then the newest; of every other file that file."""
    files = [file]
    kernel = _CELL.match(file)
    if kernel is not None:
        known = [name for name in linecache.cache if name.startswith(kernel[0])]
        others = [name for name in known if name != file]
        files += sorted(others, key=lambda name: cell(name) or 0, reverse=True)
    return [found for name in files if (found := tree(name)) is not None]


def node_at(source: Source | None) -> tuple[Tree, ast.expr | ast.stmt] | None:
    """The expression that stands exactly at a place (of `x += y` the statement)."""
    if source is None or source.column is None or source.end_column is None:
        return None
    found = tree(source.file)
    if found is None:
        return None
    end = source.end_line or source.line, source.end_column
    begin = source.line, source.column
    chained = None
    for node in found.ends.get(end, ()):
        if (node.lineno, node.col_offset) == begin:
            return found, node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # of a chain over several lines Python names the method's name, not where
            # its object begins
            name = node.func
            assert name.end_col_offset is not None
            start = name.end_col_offset - len(name.attr.encode())
            if (name.end_lineno, start) == begin:
                chained = node
    return None if chained is None else (found, chained)


def function_at(source: Source | None) -> tuple[Tree, Home] | None:
    """The innermost function, else the module, around a place of which perhaps no more
    is known than the line. A function's own line is inside it."""
    found = tree(source.file) if source is not None else None
    if found is None or source is None:
        return None
    best: Home = found.module
    for node in found.functions:
        if _first(node) <= source.line <= (node.end_lineno or node.lineno):
            best = node
    return found, best
