"""`compare`: two traces side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shapetrace.comparison import shown
from shapetrace.comparison.differences import Differences
from shapetrace.errors import UsageError
from shapetrace.records import Recording

if TYPE_CHECKING:
    import pandas


class Traced(Protocol):
    """A `Trace`: what holds a recording."""

    @property
    def recording(self) -> Recording: ...


@dataclass(frozen=True, repr=False)
class Comparison(Differences):
    """What differs between two traces; `str()` and a notebook show it."""

    def __str__(self) -> str:
        return shown.text(self)

    def __repr__(self) -> str:
        count = len(self.differences)
        return f"<Comparison: {count} difference{'' if count == 1 else 's'}>"

    def _repr_html_(self) -> str:
        return shown.html(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per call, of modules and functions, in order of time."""
        return shown.frame(self)


def compare(a: Traced, b: Traced) -> Comparison:
    """What differs between two traces: two batches, two commits, two ranks.

    Calls of modules are aligned by name and occurrence, functions by their order
    within them. One of the traces may have failed; put the good one first.

    Raises:
        UsageError: if either is no trace.

    Examples:
        >>> import torch, shapetrace
        >>> layer = torch.nn.Linear(4, 3)
        >>> with shapetrace.trace(layer) as good:
        ...     y = layer(torch.ones(64, 4))
        >>> with shapetrace.trace(layer) as other:
        ...     y = layer(torch.ones(10, 4))
        >>> first = shapetrace.compare(good, other).first
        >>> first.name, first.dim, first.a, first.b
        ('ones', 0, 64, 10)
    """
    return Comparison.between(_recording(a), _recording(b))


def _recording(trace: Traced) -> Recording:
    rec = getattr(trace, "recording", None)
    if not isinstance(rec, Recording):
        raise UsageError(
            f"compare() takes two traces, not {type(trace).__name__}: "
            "write shapetrace.compare(good, failed), each from "
            "`with shapetrace.trace(model) as good:` or shapetrace.load(path)."
        )
    return rec
