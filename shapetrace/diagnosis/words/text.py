"""The explanation as plain text, and the code that it shows."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.diagnosis.words.pieces import pieces
from shapetrace.records import Diagnosis, Fix, Recording
from shapetrace.source.place import lines_of
from shapetrace.source.rewrite import dedented, without_comments


def told(rec: Recording, diagnosis: Diagnosis) -> Diagnosis:
    """A diagnosis with the lines of code that it is about, what the script calls its
    models, and its text."""
    source = diagnosis.source
    shown = replace(
        diagnosis,
        called=rec.called,
        excerpt=tuple(lines_of(source)) if source is not None else (),
        fixes=tuple(replace(fix, old=replaced(fix)) for fix in diagnosis.fixes),
    )
    return replace(shown, text=render(shown))


def render(diagnosis: Diagnosis, width: int = 100) -> str:
    """The whole explanation, at most 25 lines of `width` columns.

    Args:
        diagnosis: what is to be explained.
        width: columns of the terminal.

    >>> print(render(Diagnosis("failure", "error", "`add` failed: 2 is not 3.", "")))
    `add` failed: 2 is not 3.
    """
    lines = ("".join(part for _, part in line) for line in pieces(diagnosis, width))
    return "\n".join(line.rstrip() for line in lines)


def replaced(fix: Fix) -> str:
    """What stands on the lines of a fix, as the fix is written."""
    if fix.old or fix.where is None:
        return fix.old
    return dedented(without_comments("\n".join(lines_of(fix.where))))
