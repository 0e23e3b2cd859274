"""Columns of frames, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def series(values: Iterable[Any], dtype: Any) -> pandas.Series[Any]:
    """A column of that dtype; as Python has them where numbers are larger than any
    that it holds, or texts hold half a character, which pyarrow does not take: those of
    a report from somebody else may."""
    import numpy
    import pandas

    made: pandas.Series[Any]
    try:
        with numpy.errstate(invalid="raise"):
            made = pandas.Series(values, dtype=dtype)
    except (OverflowError, FloatingPointError, UnicodeEncodeError):
        made = pandas.Series(values, dtype="object")
    return made
