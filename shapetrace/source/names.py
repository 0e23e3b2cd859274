"""The names that a file has for torch's functions and classes."""

from __future__ import annotations

import ast
import functools

from shapetrace.source.tree import Tree, neighbours

#: how fixes are written before the file is asked
_WRITTEN = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}


def imported(file: str) -> dict[str, str]:
    """What each imported name stands for: `nn` for `torch.nn`."""
    found: dict[str, str] = {}
    for tree in neighbours(file):
        found = _imports(tree) | found
    return found


@functools.lru_cache(maxsize=64)
def _imports(tree: Tree) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in tree.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                found.setdefault(alias.asname or whole, whole)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.setdefault(alias.asname or alias.name, name)
    return found


def spelled(code: str, file: str) -> str:
    """An expression with torch's names as a file has them.

    `nn.Linear(2, 3)` becomes `torch.nn.Linear(2, 3)` where the file has no `nn`, and
    `Linear(2, 3)` where it imports the class itself.
    """
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError:
        return code
    known = imported(file)
    read = _read(file) | set(known)
    names = {whole: name for name, whole in reversed(known.items())}
    spans = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        whole = _dotted(node, read)
        if whole is not None:
            have = [part for part in _prefixes(whole) if part in names]
            text = names[have[0]] + whole.removeprefix(have[0]) if have else whole
            spans.append((node.col_offset, node.end_col_offset or 0, text))
    raw, end = code.encode(), len(code.encode())
    for first, last, text in sorted(spans, key=lambda s: (-s[1], s[0])):
        if last <= end and "\n" not in code:  # `nn.functional` of `nn.functional.gelu`
            raw = raw[:first] + text.encode() + raw[last:]
            end = first
    return raw.decode()


def _read(file: str) -> set[str]:
    """Names that a file reads, and so has, from wherever: `from torch import *`."""
    return set().union(*map(_read_in, neighbours(file)))


@functools.lru_cache(maxsize=64)
def _read_in(tree: Tree) -> frozenset[str]:
    return frozenset(node.id for node in tree.nodes if isinstance(node, ast.Name))


def _dotted(node: ast.expr, known: set[str]) -> str | None:
    """`torch.nn.Linear` of `nn.Linear` where `nn` is not known; None for others."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id in known or node.id not in _WRITTEN:
        return None
    return ".".join([_WRITTEN[node.id], *parts])


def _prefixes(whole: str) -> list[str]:
    """`a.b.c`, `a.b`, `a`."""
    parts = whole.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
