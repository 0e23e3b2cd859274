"""The programs of the project's own tests, each broken by one slip."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from .case import Case

TESTS = Path(__file__).parents[2] / "tests" / "diagnosis"


def own() -> Iterator[Case]:
    """What is known of them is what the first fix must say."""
    sys.path.insert(0, str(TESTS))
    try:
        from broken_programs import PROGRAMS, WANTED  # type: ignore
    finally:
        sys.path.remove(str(TESTS))
    for name, text in PROGRAMS.items():
        yield Case("own", name, name, "layer", text, True, wanted=WANTED[name])
