"""The rules written in Python, by the name of the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from shapetrace.signatures.answer import Answer
from shapetrace.signatures.binding import Bound

Rule = Callable[[Bound], Answer]


class Entry(NamedTuple):
    """A rule and the parameter list by which it reads a call's arguments."""

    params: dict[str, int]
    run: Rule


#: filled by the thematic files when they are imported, never afterwards
RULES: dict[str, Entry] = {}


def rule(names: str, params: str = "input") -> Callable[[Rule], Rule]:
    """Registers a function as the rule of the functions in `names`.

    A rule named like a line of the signature table goes before that line.
    """
    index = {name: i for i, name in enumerate(params.split())}

    def register(run: Rule) -> Rule:
        entry = Entry(index, run)
        for name in names.split():
            RULES[name] = entry
        return run

    return register
