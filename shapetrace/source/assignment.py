"""Where in the user's source a module was assigned, so that a fix can name the line."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys

from shapetrace.records import Recording, Source
from shapetrace.source.tree import is_own


def definition(rec: Recording, name: str) -> Source | None:
    """The place of the constructor's call that made module `name`; None if not sure:
    assigned twice, in a loop, by a helper, in an installed library's file, or on a line
    that builds several modules."""
    owner, _, attribute = name.rpartition(".")
    info = rec.modules.get(owner)
    if info is None or not name:
        return None
    holder = owner.rpartition(".")[0] if attribute.isdigit() else owner
    if _shared(rec, holder):
        return None
    if attribute.isdigit():
        if info.type != "Sequential":
            return None
        return _entry(rec, owner, int(attribute), info.qualname)
    node, file = _assigned(rec, owner, attribute)
    return None if node is None else _source(node, file)


def _shared(rec: Recording, owner: str) -> bool:
    """Whether the class of the owner has other instances: its line builds them all."""
    modules = rec.modules
    kind = modules[owner].qualname if owner in modules else ""
    return sum(info.qualname == kind for info in modules.values()) > 1


def _entry(rec: Recording, owner: str, position: int, qualname: str) -> Source | None:
    """One entry of `self.features = nn.Sequential(a, b, c)`."""
    above, _, attribute = owner.rpartition(".")
    if not owner or attribute.isdigit() or qualname != _SEQUENTIAL:
        return None
    node, file = _assigned(rec, above, attribute)
    if not isinstance(node, ast.Call) or not _is_sequential(node.func):
        return None
    if position >= len(node.args):
        return None
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        return None
    entry = node.args[position]
    return _source(entry, file) if isinstance(entry, ast.Call) else None


_SEQUENTIAL = "torch.nn.modules.container.Sequential"


def _is_sequential(func: ast.expr) -> bool:
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    return name == "Sequential"


def _assigned(
    rec: Recording, owner: str, attribute: str
) -> tuple[ast.expr | None, str]:
    """The value of the one assignment `self.<attribute> = …` in the owner's class."""
    info = rec.modules.get(owner)
    if info is None:
        return None, ""
    home, _, name = info.qualname.rpartition(".")
    kind = sys.modules.get(home)
    for part in info.qualname.removeprefix(home + ".").split("."):
        kind = getattr(kind, part, None)
    file, tree = "", None
    if isinstance(kind, type):
        file, tree = _class_source(kind)
    else:
        file, tree = _by_name(rec, owner, name)
    if tree is None:
        return None, ""
    found = [
        (node.value, repeated)
        for node, repeated in _statements(tree)
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr == attribute
        and isinstance(node.targets[0].value, ast.Name)
    ]
    if len(found) != 1 or found[0][1] or not isinstance(found[0][0], ast.Call):
        return None, ""
    return found[0][0], file


def _statements(tree: ast.AST, repeated: bool = False) -> list[tuple[ast.AST, bool]]:
    """Every statement, and whether it stands in a loop."""
    found = []
    for node in ast.iter_child_nodes(tree):
        loop = repeated or isinstance(node, (ast.For, ast.While))
        found.append((node, loop))
        found += _statements(node, loop)
    return found


def _class_source(kind: type) -> tuple[str, ast.ClassDef | None]:
    try:
        file = inspect.getsourcefile(kind) or ""
    except TypeError:  # defined in a session without a file, or in a notebook's cell
        file = ""
    forward = getattr(kind, "forward", None)
    code = getattr(forward, "__code__", None)
    if code is not None and "forward" in vars(kind):
        file = code.co_filename
    return file, _class_node(file, kind.__qualname__, code and code.co_firstlineno)


def _by_name(rec: Recording, owner: str, name: str) -> tuple[str, ast.ClassDef | None]:
    """A class defined inside a function cannot be reached: the file of a call that its
    forward made is asked for a class of that name."""
    for call in rec.functions:
        if call.parent is None or not call.direct:
            continue
        if rec.calls[call.parent].name != owner:
            continue
        if call.source is not None:
            file = call.source.file
            return file, _class_node(file, name, call.source.line)
    for child in rec.calls:
        if child.parent is not None and child.source is not None:
            if rec.calls[child.parent].name == owner:
                return child.source.file, _class_node(
                    child.source.file, name, child.source.line
                )
    return "", None


def _class_node(file: str, qualname: str, line: int | None) -> ast.ClassDef | None:
    """The definition of a class; of several of one name the one that holds `line`."""
    if not file or not is_own(Source(file, 1)):
        return None
    tree = _parsed("".join(linecache.getlines(file)))
    if tree is None:
        return None
    name = qualname.rpartition(".")[2]
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    if len(found) > 1 and line is not None:
        found = [n for n in found if n.lineno <= line <= (n.end_lineno or n.lineno)]
    return found[0] if len(found) == 1 else None


@functools.lru_cache(maxsize=8)
def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except SyntaxError:  # a notebook's cell with magic commands
        return None


def _source(node: ast.expr, file: str) -> Source:
    return Source(
        file, node.lineno, "", node.end_lineno, node.col_offset, node.end_col_offset
    )
