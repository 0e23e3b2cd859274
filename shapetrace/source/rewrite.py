"""Statements of the user's with some of their parts exchanged, as text to paste."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from os.path import commonprefix

from shapetrace.records import Source
from shapetrace.source.lines import lines_between
from shapetrace.source.place import cell
from shapetrace.source.tree import Tree

#: line and byte where a piece of code begins, and where it ends
Span = tuple[int, int, int, int]
#: what goes, and what comes in its place
Part = tuple[ast.AST | Span, str]


def span(node: ast.AST) -> Span:
    """The place of a node in its file."""
    assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def lines_of(tree: Tree, node: ast.AST) -> tuple[int, int]:
    """The first and the last line of the statement around a node; of one that has a
    body, such as `for` or `with`, the lines before the body."""
    statement = tree.statement(node)
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None)
    if body:
        before = body[0].lineno - 1
        decorated = getattr(body[0], "decorator_list", [])
        before = min([before, *(each.lineno - 1 for each in decorated)])
        last = before if before >= first else (body[-1].end_lineno or last)
    return first, last


def place_of(tree: Tree, node: ast.AST) -> Source:
    """The place of the whole lines of the statement around a node."""
    return _whole_lines(tree, *lines_of(tree, node))


def rewritten(
    tree: Tree, parts: Sequence[Part], *within: ast.AST
) -> tuple[str, Source]:
    """Statements with some of their parts replaced, from the first that holds one (or
    a node of `within`) to the last, and the place of the lines that the text replaces.

    The formatting is the user's, comments are left out. The text begins without its
    indentation; further lines are indented against the first.
    """
    spans = []
    reach = [lines_of(tree, node) for node in within]
    for old, new in parts:
        if isinstance(old, ast.AST):
            reach.append(lines_of(tree, old))
            old = span(old)
        spans.append((old, new))
        reach.append((old[0], old[2]))
    first, last = min(a for a, _ in reach), max(b for _, b in reach)
    lines = [line.encode() for line in tree.lines[first - 1 : last]]
    for (begin, column, end, end_column), new in sorted(spans, reverse=True):
        above, below = begin - first, end - first
        changed = lines[above][:column] + new.encode() + lines[below][end_column:]
        lines[above : below + 1] = [changed]
    code = b"".join(lines).decode(errors="replace")
    return _plain(code), _whole_lines(tree, first, last)


def inserted(
    tree: Tree, node: ast.AST, code: str, *, after: bool
) -> tuple[str, Source]:
    """The statement around a node with another statement before or after it."""
    first, last = lines_of(tree, node)
    kept = _plain("".join(tree.lines[first - 1 : last]))
    text = f"{kept}\n{code}" if after else f"{code}\n{kept}"
    return text, _whole_lines(tree, first, last)


def _whole_lines(tree: Tree, first: int, last: int) -> Source:
    return Source(tree.file, first, "", last, cell=cell(tree.file))


def _plain(code: str) -> str:
    return dedented(without_comments(code.rstrip("\n")))


def dedented(code: str) -> str:
    """Code without the indentation of its first line."""
    margin = code[: len(code) - len(code.lstrip(" \t"))]
    return "\n".join(line.removeprefix(margin) for line in code.split("\n"))


def without_comments(code: str) -> str:
    """Code without comments, and without the lines that held nothing else."""
    if "#" not in code:
        return code
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, IndentationError):  # a part of a statement
        return code
    lines = code.split("\n")
    emptied = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
            if not lines[row - 1]:
                emptied.add(row - 1)
    return "\n".join(line for n, line in enumerate(lines) if n not in emptied)


def merged(old: str, texts: Sequence[str]) -> str | None:
    """A text with the change of each of others; None where two of them overlap.

    >>> merged("f(a) + f(b)", ["f(a.T) + f(b)", "f(a) + f(b.T)"])
    'f(a.T) + f(b.T)'
    """
    parts = []
    for new in dict.fromkeys(texts):
        start = len(commonprefix([old, new]))
        kept = len(commonprefix([old[start:][::-1], new[start:][::-1]]))
        parts.append((start, len(old) - kept, new[start : len(new) - kept]))
    parts.sort()
    if any(a[1] > b[0] or a[0] == b[0] for a, b in pairwise(parts)):
        return None
    for start, end, new in reversed(parts):
        old = old[:start] + new + old[end:]
    return old


def spanning(texts: Mapping[Source, str], most: int) -> tuple[str, Source] | None:
    """What replaces the lines from the first of some statements to the last, each with
    its text, and the head of a block where they end in another one; None where that are
    more lines than `most`."""
    places = sorted(texts, key=lambda place: place.line)
    first, last = places[0].line, max(p.end_line or p.line for p in places)
    if len({place.file for place in places}) > 1:
        return None
    while True:
        lines = list(lines_between(places[0].file, first, last))
        if not 0 < len(lines) == last - first + 1 <= most:
            return None
        margin = lines[0][: len(lines[0]) - len(lines[0].lstrip(" \t"))]
        if lines[0].strip() and _all_start(lines, margin):
            break
        first -= 1  # to where the block begins that holds them all
    for place in reversed(places):
        at, end = place.line - first, (place.end_line or place.line) - first
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip(" \t"))]
        lines[at : end + 1] = [indent + line for line in texts[place].split("\n")]
    return dedented("\n".join(lines)), replace(places[0], line=first, end_line=last)


def _all_start(lines: Sequence[str], margin: str) -> bool:
    return all(line.startswith(margin) for line in lines if line.strip())
