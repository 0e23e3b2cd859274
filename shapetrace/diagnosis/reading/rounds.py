"""Rounds of the script's own loops that begin behind the failing call."""

from __future__ import annotations

import ast
from typing import Any

from shapetrace.diagnosis.reading.recorded import Cursor
from shapetrace.diagnosis.reading.values import (
    Built,
    Frame,
    Instance,
    Kind,
    Layer,
    Routine,
)

_CALLED = (Layer, Built, Routine, Kind, Instance)


def is_beyond(cursor: Cursor, frame: Frame, body: list[ast.stmt], one: Any) -> bool:
    """Whether a round over `one`, after the failing call, is one of another batch or
    epoch: of a loop outside of all modules, over what is nothing to be called."""
    if not frame.live or frame.parent is not None:
        return False
    if cursor.any_left(frame.parent, frame.tree.file, body):
        return False
    parts = one if isinstance(one, (list, tuple)) else [one]
    return not any(isinstance(part, _CALLED) for part in parts)
