"""How one value of a column is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shapetrace.views import words
from shapetrace.views.columns.column import Write

Shapes = tuple[tuple[int, ...], ...]
#: more shapes than fit into that are counted where there is little room
_NARROW = 18


def shapes_text(value: Shapes | None) -> str:
    """The first two shapes and how many more there are; "–" of a call that raised."""
    return "–" if value is None else _listed(value, 2)


def shapes_narrow(value: Shapes | None) -> str:
    if value is None:
        return "–"
    two = _listed(value, 2)
    return two if len(two) <= _NARROW else _listed(value, 1)


def _listed(value: Shapes, most: int) -> str:
    written = [words.shape(sizes) for sizes in value]
    if len(written) > most:
        return f"{', '.join(written[:most])} +{len(written) - most} more"
    return ", ".join(written)


def times(values: Sequence[Any]) -> Write:
    """Milliseconds, with as many digits as the longest of the column has room for."""
    longest = max((value or 0 for value in values), default=0)
    digits = 3 if longest < 10 else 2 if longest < 10_000 else 0
    return lambda value: "?" if value is None else f"{value:,.{digits}f}"


def joined(value: Sequence[str] | None) -> str:
    return "–" if value is None else ", ".join(value)


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def count(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:,}"


def scaled(unit: str) -> Write:
    """Three digits and a prefix; "?" where it is not known."""
    return lambda value: "?" if value is None else words.scaled(value, unit)


def rate(value: float | None) -> str:
    """Of what computes nothing there is none."""
    return words.scaled(value) if value else ""


def sizes(value: Any) -> str:
    """`3×3`: a number for each dimension, or one for all."""
    if value is None:
        return ""
    return words.shape(value) if isinstance(value, tuple | list) else str(value)
