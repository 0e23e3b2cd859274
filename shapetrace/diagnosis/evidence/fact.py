"""One thing that speaks for or against a hypothesis."""

from __future__ import annotations

from typing import NamedTuple


class Fact(NamedTuple):
    """`name` is what its weight stands under; `text` a clause for the reader, "" where
    it tells a reader nothing."""

    name: str
    strength: float = 1.0
    text: str = ""
