"""What each call saved for its backward, and how much less would be held if
checkpointing ran the call again there instead."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from shapetrace.recording.extensions.cell import Cell
from shapetrace.recording.extensions.storage import ACTIVATION, Stored


class SavedByCall:
    """Fills `saved_bytes`, `exclusive_bytes` and `peak_exclusive_bytes` of a call and
    all calls inside it. Moments are told by how many changes of what is held there had
    been."""

    def __init__(self) -> None:
        #: of a call by itself, by their numbers; those of parameters are left out
        self.saved: dict[Cell | None, dict[int, Stored]] = {}
        #: what it was given, and the numbers of what it gave
        self.given: dict[Cell, list[Stored]] = {}
        self.gave: dict[Cell, set[int]] = {}
        #: those of which some are not known
        self.unknown: set[Cell | None] = set()
        #: when it began, when it ended, when a backward had made the first of its
        #: gradients
        self.begun: dict[Cell, int] = {}
        self.ended: dict[Cell, int] = {}
        self.reached: dict[Cell, int] = {}
        #: what a kernel works with for a moment
        self.kernels: list[tuple[int, int]] = []
        #: those that a backward ran again
        self.again: set[Cell] = set()
        #: bytes of inputs that nobody saved
        self._kept: dict[Cell, int] = {}

    def finish(self, cells: Sequence[Cell], held: list[int]) -> None:
        """`held` are the bytes at each moment."""
        self._win(cells, held, self._exclusive(cells))

    def _exclusive(self, cells: Sequence[Cell]) -> dict[Cell, list[Stored]]:
        """What would be free without the call: no other call saved it, and it is
        neither its input nor its output. Checkpointing keeps the inputs, also those
        that nobody else keeps."""
        savers = Counter(number for one in self.saved.values() for number in one)
        inside: dict[Cell | None, dict[int, Stored]] = {}
        counts: dict[Cell | None, Counter[int]] = {}
        found: dict[Cell, list[Stored]] = {}
        for cell in reversed(cells):
            own = self.saved.get(cell, {})
            whole = inside.pop(cell, {}) | own
            count = counts.pop(cell, Counter())
            count.update(own.keys())
            cell.fields["saved_bytes"] = cell.fields["exclusive_bytes"] = None
            if cell in self.unknown:
                self.unknown.add(cell.parent)
            else:
                given = {one.number: one for one in self.given.get(cell, ())}
                passed = given.keys() | self.gave.get(cell, set())
                found[cell] = [
                    stored
                    for number, stored in whole.items()
                    if count[number] == savers[number] and number not in passed
                ]
                self._kept[cell] = sum(
                    one.size
                    for number, one in given.items()
                    if one.kind == ACTIVATION and not savers[number]
                )
                cell.fields["saved_bytes"] = sum(one.size for one in whole.values())
                freed = sum(one.size for one in found[cell]) - self._kept[cell]
                cell.fields["exclusive_bytes"] = max(0, freed)
            if cell.parent is not None:
                inside.setdefault(cell.parent, {}).update(whole)
                counts.setdefault(cell.parent, Counter()).update(count)
        return found

    def _win(
        self,
        cells: Sequence[Cell],
        held: list[int],
        exclusive: dict[Cell, list[Stored]],
    ) -> None:
        """By how much the most that its batch holds would fall."""
        blocks = {cell.parent for cell in cells}
        starts = self._batches(cells)
        ends = [*(start + 1 for start in starts[1:]), len(held)]
        spans = list(zip(starts, ends))
        high = list(held)
        for moment, bytes_ in self.kernels:
            high[moment] = max(high[moment], held[moment] + bytes_)
        most = [max(high[begin:until]) for begin, until in spans]
        for cell in cells:
            cell.fields["peak_exclusive_bytes"] = None
            if cell in blocks and cell in self.begun:
                at = max(0, bisect_right(starts, self.begun[cell]) - 1)
                freed = exclusive.get(cell, ())
                without = self._most_without(cell, freed, held, high, *spans[at])
                won = min(
                    cell.fields["exclusive_bytes"] or 0, max(0, most[at] - without)
                )
                cell.fields["peak_exclusive_bytes"] = won

    def _batches(self, cells: Sequence[Cell]) -> list[int]:
        """When each batch begins: with the first outermost call after a backward of the
        one before, so that all calls are in it of which one loss is made; without any
        backward where the first module is called again. What began while another call
        ran, in a thread or in a backward, begins none."""
        starts: list[int] = []
        first: int | None = None
        reached: int | None = None
        busy = 0
        for top in cells:
            begun = self.begun.get(top)
            if top.parent is not None or begun is None:
                continue
            if top in self.again or begun < busy:
                continue
            busy = self.ended.get(top, begun)
            first = top.module if first is None else first
            if self.reached:
                turns = reached is not None and reached <= begun
            else:
                turns = top.module == first
            if turns or not starts:
                starts.append(begun)
                reached = None
            own = self.reached.get(top)
            if own is not None:
                reached = own if reached is None else min(own, reached)
        return starts

    def _most_without(
        self,
        cell: Cell,
        freed: Sequence[Stored],
        held: list[int],
        high: list[int],
        begin: int,
        until: int,
    ) -> int:
        """The most that the batch would hold: in the forward each of the storages goes
        once the call has used it, and what its backward needs comes again in it, beside
        what is held then."""
        start = self.begun[cell]
        end = min(self.ended.get(cell, until - 1), until - 1)
        back = min(max(end, self.reached.get(cell, until - 1)), until - 1)
        gone = sum(one.size for one in freed) - self._kept.get(cell, 0)
        going = sorted((one.used, one.size) for one in freed)
        most, less, at = 0, 0, 0
        for moment in range(start, end + 1):
            while at < len(going) and going[at][0] < moment:
                less += going[at][1]
                at += 1
            most = max(most, high[moment] - less)
        made = max((one.made for one in freed), default=start)
        again = max(high[start : made + 1], default=held[start]) - held[start]
        return max(
            most,
            max(high[begin : start + 1]),
            max(high[end : back + 1]) - gone,
            held[back] - gone + again,
            max(high[back:until]),
        )
