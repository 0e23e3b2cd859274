"""Module calls from their entries to their ends, as records."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shapetrace.recording.table import Site
from shapetrace.records import CallError, ModuleCall, Source, TensorRef

if TYPE_CHECKING:
    from shapetrace.recording.extensions.cell import Cell

_UNFINISHED = CallError("Unfinished", "the traced block ended before this call")


class OpenCall:
    """A module call on its way."""

    __slots__ = (
        *("index", "parent", "depth", "site", "inputs", "source"),
        *("thread", "recomputed", "order", "reads"),
    )

    index: int
    parent: OpenCall | None
    depth: int
    site: Site
    inputs: tuple[TensorRef, ...]
    source: Source | None
    thread: int
    recomputed: bool
    order: int
    reads: int


class ModuleCalls:
    """Who called whom, in each thread. Starts and ends are indices in `stamps`, to
    which whoever reads the events adds."""

    def __init__(self, stamps: list[Any], number: Callable[[int], int]) -> None:
        self._stamps = stamps
        self._number = number
        self._open: dict[int, list[OpenCall]] = {0: []}
        self._recomputed: set[int] = set()
        self._cells: dict[int, Cell] = {}
        # of each call, once it is there: the record, where the stamps of its start and
        # end stand, what extensions noted
        self._calls: list[ModuleCall | None] = []
        self._starts = array("Q")
        self._ends = array("Q")
        #: of a call, and where stamps stand between which the recorder worked in it
        self._spent = array("Q")
        self._noted: dict[int, dict[str, Any]] = {}

    @property
    def count(self) -> int:
        return len(self._calls)

    def innermost(self, thread: int = 0) -> OpenCall | None:
        stack = self._open.get(thread)
        return stack[-1] if stack else None

    def recomputes(self, thread: int) -> None:
        """The next call in that thread is made by a running backward."""
        self._recomputed.add(thread)

    def expect(self, thread: int, cell: Cell) -> None:
        """Extensions note there what they have to say of the next call."""
        self._cells[thread] = cell

    def begin(
        self, site: Site, start: int, thread: int, source: Source | None, order: int
    ) -> None:
        """`source` is None where it is that of the enclosing call."""
        stack = self._open.setdefault(thread, [])
        parent = stack[-1] if stack else self._foreign_parent(site.name, thread)
        call = OpenCall()
        call.index = self._number(len(self._calls))
        call.parent = parent
        call.depth = parent.depth + 1 if parent else 0
        call.site = site
        call.inputs = ()
        call.source = parent.source if source is None and parent else source
        call.thread = thread
        call.recomputed = thread in self._recomputed or bool(
            parent and parent.recomputed
        )
        call.order = order
        call.reads = 0
        self._recomputed.discard(thread)
        cell = self._cells.pop(thread, None)
        if cell is not None:
            self._noted[call.index] = cell.fields
        self._calls.append(None)
        self._starts.append(start)
        self._ends.append(start)
        stack.append(call)

    def _foreign_parent(self, name: str, thread: int) -> OpenCall | None:
        """A call in another thread belongs to the open call of a module above it in
        the tracing thread (nn.DataParallel); else it stands on its own."""
        if thread == 0:
            return None
        for call in reversed(self._open[0]):
            above = call.site.name
            if name != above and (above == "" or name.startswith(above + ".")):
                return call
        return None

    def ending(self, site: Site, thread: int, order: int) -> OpenCall | None:
        """The open call that ends now; None where an interrupt came between its entry
        and the note of it."""
        stack = self._open.get(thread, [])
        if not any(call.site is site for call in stack):
            return None
        while stack[-1].site is not site:  # an interrupt came before its end was noted
            self._cut(stack.pop(), order)
        return stack.pop()

    def leave(self, thread: int, count: int, order: int) -> None:
        """Only the outermost `count` calls are open still."""
        stack = self._open.get(thread, [])
        while len(stack) > count:
            self._cut(stack.pop(), order)

    def spent(self, call: OpenCall, since: int, until: int) -> None:
        """The recorder itself worked meanwhile, in the call's own time."""
        self._spent.extend((call.index, since, until))

    def _cut(self, call: OpenCall, order: int) -> None:
        self.close(call, len(self._stamps) - 1, order, error=_UNFINISHED)

    def close_all(self, order: int, *, running: bool) -> None:
        """The events are at their end, whether the block is or not."""
        left = None if running else _UNFINISHED
        for stack in self._open.values():
            while stack:
                self.close(stack.pop(), len(self._stamps), order, error=left)

    def close(
        self,
        call: OpenCall,
        end: int,
        order: int,
        outputs: tuple[TensorRef, ...] | None = None,
        output_type: str = "",
        error: CallError | None = None,
    ) -> None:
        self._ends[call.index] = end
        self._calls[call.index] = ModuleCall(
            index=call.index,
            parent=call.parent.index if call.parent else None,
            depth=call.depth,
            name=call.site.name,
            type=call.site.kind.__name__,
            inputs=call.inputs,
            outputs=outputs,
            source=call.source,
            error=error,
            thread=call.thread,
            recomputed=call.recomputed,
            order=call.order,
            end_order=order,
            output_type=output_type,
            attribute_reads=call.reads,
        )

    def timed(self, times: list[int]) -> tuple[ModuleCall, ...]:
        """The records, with the resolved times and what extensions noted. The last
        time is that of the end of it all."""
        zero, last = times[0], len(times) - 1
        done = [call for call in self._calls if call is not None]
        inside = [0] * len(done)
        for call, a, b in zip(done, self._starts, self._ends, strict=True):
            call.start_ns = times[a] - zero
            call.duration_ns = times[min(b, last)] - times[a]
            if call.parent is not None and done[call.parent].thread == call.thread:
                inside[call.parent] += call.duration_ns
        for call, within in zip(done, inside, strict=True):
            took = call.duration_ns
            call.self_ns = max(0, took - within) if within else took
        spent = iter(self._spent)
        for index, since, until in zip(spent, spent, spent, strict=True):
            done[index].tracer_ns += times[until] - times[since]
        for index, fields in self._noted.items():
            for key, value in fields.items():
                setattr(done[index], key, value)
        return tuple(done)
