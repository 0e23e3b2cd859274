"""The ranges of `torch.profiler.record_function`: optimizers and loaders make some."""

from __future__ import annotations

from shapetrace.records import Range, Source


class Ranges:
    """Those of one recording; times are stamps by their number until the end."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int, Source | None, int]] = []
        self._ended: list[
            tuple[str, tuple[int, int], Source | None, tuple[int, int]]
        ] = []

    def begin(self, label: str, at: int, source: Source | None, order: int) -> None:
        self._open.append((label, at, source, order))

    def end(self, at: int, around: Source | None, order: int) -> None:
        """The innermost one; `around` is the place of the module call it was in."""
        if self._open:
            label, began, source, since = self._open.pop()
            source = around if source is None else source
            self._ended.append((label, (began, at), source, (since, order)))

    def timed(self, times: list[int]) -> tuple[Range, ...]:
        zero = times[0]
        return tuple(
            Range(label, times[a] - zero, times[b] - times[a], source, *orders)
            for label, (a, b), source, orders in self._ended
        )
