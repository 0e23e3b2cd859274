"""The user's place in the code: the nearest frame outside torch and shapetrace."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from types import CodeType, TracebackType

import torch

from shapetrace.records import Source
from shapetrace.source.lines import lines_between

_INSIDE = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep
    for path in (torch.__file__ or "", os.path.dirname(__file__))
)


class Internal(dict[str, bool]):
    """File name -> whether it belongs to torch, shapetrace or the interpreter.

    A dict with `__missing__`: the recorder looks one up a call, and the names that
    code objects carry are interned, so that a hit costs some 30 ns.
    """

    def __missing__(self, filename: str) -> bool:
        inside = filename.startswith(_INSIDE) or filename.startswith("<frozen ")
        self[filename] = inside
        return inside


#: a cache of a pure function of the name, never of anything in a trace
INTERNAL = Internal()


#: the name of code of ours that stands at a place of the user's, and is none
STANDS_IN = "<called by shapetrace>"


def raised_at(tb: TracebackType | None) -> tuple[CodeType, int] | None:
    """Code and instruction of the innermost user frame that a traceback passes."""
    found = None
    while tb is not None:
        code = tb.tb_frame.f_code
        if not INTERNAL[code.co_filename] and code.co_name != STANDS_IN:
            found = (code, tb.tb_lasti)
        tb = tb.tb_next
    return found


def locate(code: CodeType, lasti: int) -> Source:
    """The source position of one instruction, as exact as Python 3.11 knows it."""
    start, end, column, end_column = _positions(code)[lasti // 2]
    return Source(
        file=code.co_filename,
        line=start or code.co_firstlineno,
        function=code.co_qualname,
        end_line=end,
        column=column,
        end_column=end_column,
        cell=cell(code.co_filename),
    )


def cell(file: str) -> int | None:
    """The execution count of the notebook's cell that a file name stands for, if any:
    IPython compiles each cell under a name of its own and keeps the numbers."""
    old = re.match(r"<ipython-input-(\d+)-", file)
    if old is not None:
        return int(old[1])
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    named = getattr(getattr(shell, "compile", None), "format_code_name", None)
    label = named(file) if named is not None else None
    number = re.search(r"\d+", label[1]) if label is not None else None
    return int(number[0]) if number is not None else None


def inits(kind: type) -> tuple[Source, ...]:
    """The places of the `__init__`s of a class and of its bases, torch's left out."""
    found = []
    for base in kind.__mro__:
        init = inspect.unwrap(vars(base).get("__init__", object.__init__))
        code = getattr(init, "__code__", None)
        if isinstance(code, CodeType) and not INTERNAL[code.co_filename]:
            place = cell(code.co_filename)
            name, line = code.co_qualname, code.co_firstlineno
            found.append(Source(code.co_filename, line, name, cell=place))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def _positions(
    code: CodeType,
) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())


def lines_of(source: Source) -> list[str]:
    """The whole lines of a position, as far as they are known: "" at least."""
    last = source.end_line or source.line
    return list(lines_between(source.file, source.line, last)) or [""]


def text(source: Source | None) -> str:
    """The code of a source position, whole lines stripped, "" when it is not known."""
    if source is None:
        return ""
    return " ".join(line.strip() for line in lines_of(source)).strip()


def segment(source: Source | None) -> str:
    """The expression itself, "" when its columns or its file are not known."""
    if source is None or source.column is None or source.end_column is None:
        return ""
    lines = lines_of(source)
    if not lines[0] or len(lines) < (source.end_line or source.line) - source.line + 1:
        return ""
    # columns count bytes of UTF-8, not characters
    raw = [line.encode() for line in lines]
    raw[-1] = raw[-1][: source.end_column]
    raw[0] = raw[0][source.column :]
    return " ".join(part.decode(errors="replace").strip() for part in raw)
