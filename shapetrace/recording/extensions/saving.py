"""What autograd saved, and when a call had all that it saves for its backward: as far
as that, and no further, checkpointing runs it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

from shapetrace.recording.clocks import Clock
from shapetrace.recording.extensions.base import Node
from shapetrace.recording.extensions.cell import Cell
from shapetrace.recording.tensors import is_tensor


class SavingTimes:
    """Fills `saving_ns` of a call, from its entry on. Storages are told by their
    numbers, which grow."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: the last that happened; where the last function began at the earliest and
        #: ended, and the newest storage before it
        self._last: Any = clock.now()
        self._start, self._end = self._last, self._last
        self._before = 0
        self._entered: dict[Cell, Any] = {}
        self._had: dict[Cell, Any] = {}

    def enter(self, cell: Cell) -> None:
        self._last = self._entered[cell] = self._clock.now()

    def leave(self) -> None:
        self._last = self._clock.now()

    def ended(self, newest: int) -> None:
        """A function has ended; `newest` is the last storage that was there before."""
        self._start = self._last
        self._last = self._end = self._clock.now()
        self._before = newest

    def saved(self, cell: Cell | None, number: int | None) -> None:
        """It saved this storage; None: one that is unknown. Inputs are saved before it
        computes, what it makes afterwards."""
        if cell is not None:
            made = number is None or number > self._before
            had = self._end if made else self._start
            self._had[cell] = max(had, self._had.get(cell, had))

    def finish(self, cells: Sequence[Cell]) -> None:
        for cell in reversed(cells):
            had, parent = self._had.get(cell), cell.parent
            cell.fields["saving_ns"] = 0
            if had is not None and cell in self._entered:
                begin, end = self._clock.resolve([self._entered[cell], had])
                cell.fields["saving_ns"] = max(0, end - begin)
                if parent is not None:
                    self._had[parent] = max(had, self._had.get(parent, had))

    def release(self) -> None:
        self._entered, self._had = {}, {}


class SavedTensors:
    """Asks nodes what they have saved."""

    def __init__(self) -> None:
        self._names: dict[type, list[str]] = {}

    def saved_by(self, node: Node) -> Iterator[torch.Tensor]:
        kind = type(node)
        if kind not in self._names:
            names = [name for name in dir(kind) if name.startswith("_saved_")]
            if issubclass(kind, BackwardCFunction):
                names = ["saved_tensors"]
            self._names[kind] = names
        for name in self._names[kind]:
            try:
                value = getattr(node, name)
            except RuntimeError:  # changed in place meanwhile: autograd will say so
                continue
            for one in value if isinstance(value, tuple) else (value,):
                if is_tensor(one):
                    yield one
