"""Python's search for garbage stands still where much is made and all of it stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """A block, or as `@uncollected()` a function, that makes records, findings, rows or
    cells by the hundred thousand. Looking through all of them again and again for
    garbage was a third of the time of the findings, and more of that of the records."""
    was = gc.isenabled()
    try:
        try:
            gc.disable()
            yield
        finally:
            if was:
                gc.enable()
    finally:  # again, where a Ctrl-C has cut the first short
        if was:
            gc.enable()
