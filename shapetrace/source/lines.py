"""The lines of a file of code, as `linecache` has them.

A report from somebody else names files too: what is no code is not read for it, neither
a device without an end nor a key that its reader would then show around.
"""

from __future__ import annotations

import linecache
import os
import re
import stat
import sys
from collections.abc import Sequence

#: no file of code is larger
_MOST_BYTES = 32 << 20
#: what says that a file is run by Python, where its name does not
_RUN_BY_PYTHON = re.compile(rb"#!.*\bpython")


def code_lines(file: str) -> list[str]:
    """All lines of a file, or of what stands for one in `linecache`: a notebook's cell,
    code that was run by `exec`. The same list while the file does not change; an empty
    one for what is no code."""
    try:
        if file not in linecache.cache and not _is_code(file):
            return []
        return linecache.getlines(file)
    except (OSError, ValueError):  # of a damaged report: a name that no file can have
        return []


def lines_between(file: str, first: int, last: int) -> Sequence[str]:
    """The lines from one number to another, without their ends; fewer where the file
    ends before."""
    lines = code_lines(file)[max(first - 1, 0) : max(last, 0)]
    return [line.rstrip("\n") for line in lines]


def code_line(file: str, number: int) -> str:
    """One line; empty where there is none."""
    return next(iter(lines_between(file, number, number)), "")


def _is_code(file: str) -> bool:
    if file.startswith("<") and file.endswith(">"):
        return True  # no file: a doctest's example
    if not os.path.isabs(file) and not os.path.exists(file):
        # which linecache looks for beside the script and among the modules
        return os.pardir not in file.split(os.sep) and _has_name_of_code(file)
    found = os.stat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
        return False
    if _has_name_of_code(file) or file == getattr(
        sys.modules.get("__main__"), "__file__", ""
    ):
        return True
    with open(file, "rb") as opened:
        return _RUN_BY_PYTHON.match(opened.read(200)) is not None


def _has_name_of_code(file: str) -> bool:
    return file.endswith((".py", ".pyw"))
