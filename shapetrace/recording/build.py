"""Raw events to records: parents, ids, times and places are worked out here."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from types import CodeType
from typing import Any

from shapetrace.recording import events as raw
from shapetrace.recording.function_names import function_names
from shapetrace.recording.holding import Holding
from shapetrace.recording.module_calls import ModuleCalls, OpenCall
from shapetrace.recording.module_infos import module_infos
from shapetrace.recording.ranges import Ranges
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import SeenModule
from shapetrace.recording.table import Site
from shapetrace.recording.tensors import outline
from shapetrace.recording.versions import Versions
from shapetrace.recording.waits import Waits
from shapetrace.records import (
    CallError,
    FunctionCall,
    Source,
    TensorRef,
    Unseen,
)
from shapetrace.source.place import locate

#: checkpointing ends a recomputation by it, once it has what the backward needs
_ENOUGH = "_StopRecomputationError"


class Replay:
    """One pass over the events of a recorder; what has no underscore is to be read."""

    def __init__(
        self,
        recorder: Recorder,
        modules: Sequence[SeenModule],
        error: raw.Failure | None = None,
        *,
        running: bool = False,
    ) -> None:
        # while the block runs another thread may add to them, or drop some
        self._events = list(recorder.events) if running else recorder.events
        self._has_functions = recorder.functions
        self._grad = recorder.grad
        self._gone = recorder.references.gone
        self._stamps: list[Any] = []
        self.versions = Versions()
        self._open = ModuleCalls(self._stamps, self.versions.number)
        #: where the next function call is made
        self._thread = 0
        #: the order of the newest event that is no definition
        self._noted = 0
        self._places: dict[tuple[CodeType, int], Source] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._functions: list[FunctionCall] = []
        #: where among the stamps that of its start stands, before that of its end
        self._function_stamps = array("Q")
        #: a function outside of modules, and stamps between which the recorder worked
        self._outside = array("Q")
        self._reads = 0
        self.waits = Waits()
        self._ranges = Ranges()
        self._holding = Holding(self._stamp)
        self._unseen = dict.fromkeys(map(Unseen, recorder.other_threads.names))
        self._gap: tuple[int, int, int] | None = None
        self.values: dict[int, tuple[int, int]] = {}
        self._run()
        self.waits.looked(list(recorder.handles.looks))
        self.versions.count()
        self.error = self._error(error)
        self._open.close_all(self.versions.order, running=running)
        ended = recorder.ended  # so far, where the block is not at its end
        self._stamps.append(recorder.clock.now() if ended is None else ended)
        first = self._stamps[0] if recorder.began is None else recorder.began
        stamps = self._stamps, [*self.waits.stamps, first]
        self._finish(*map(recorder.clock.resolve, stamps))
        self.modules = module_infos(modules, self.calls, self.versions)

    # -- the events ---------------------------------------------------------------

    def _run(self) -> None:
        events, end, position = self._events, len(self._events), 0
        versions = self.versions
        readers: dict[int, Callable[[int], int]] = {
            raw.ENTER: self._enter,
            raw.ENTER_INSIDE: self._enter_inside,
            raw.LEAVE: self._leave,
            raw.LEAVE_ONE: self._leave_one,
            raw.FAIL: self._leave,
            raw.CALL: self._call,
            raw.MAKE: self._call,
            raw.RAISE: self._call,
            raw.DEFINE: self._define,
            raw.THREAD: self._note_thread,
            raw.RECOMPUTED: self._mark_recomputed,
            raw.LEFT: self._left,
            raw.VALUES: self._note_values,
            raw.NOTE: self._note_cell,
            raw.LIVE: self._note_live,
            raw.UNSEEN: self._note_unseen,
            raw.GAP: self._note_gap,
            raw.READ: self._note_read,
            raw.SPENT: self._note_spent,
            raw.WAITED: self._note_waited,
            raw.BEGUN: self._note_begun,
        }
        while position < end:
            versions.count()
            kind = events[position]
            position = readers[kind](position)
            if kind != raw.DEFINE:
                self._noted = versions.order

    def _define(self, at: int) -> int:
        _, ref, shape, dtype, device, origin = self._events[at : at + 6]
        (made,) = self.versions.new(ref, shape, dtype, device)
        if id(ref) in self._gone:
            origin = replace(origin, gone=True)
        self.versions.origins[made.id] = origin
        return at + 6

    def _note_thread(self, at: int) -> int:
        self._thread = self._events[at + 1]
        return at + 2

    def _mark_recomputed(self, at: int) -> int:
        self._open.recomputes(self._events[at + 1])
        return at + 2

    def _left(self, at: int) -> int:
        _, thread, count = self._events[at : at + 3]
        self._open.leave(thread, count, self.versions.order)
        return at + 3

    def _note_values(self, at: int) -> int:
        _, ref, span = self._events[at : at + 3]
        if span and (version := self.versions.newest(ref)) is not None:
            self.values[version.id] = span[0], span[1]
        return at + 3

    def _note_cell(self, at: int) -> int:
        _, thread, cell = self._events[at : at + 3]
        self._open.expect(thread, cell)
        return at + 3

    def _note_live(self, at: int) -> int:
        _, stamp, held, ran = self._events[at : at + 4]
        call = self._open.innermost()
        self._holding.note(stamp, held, ran, call.index if call else None)
        return at + 4

    def _note_unseen(self, at: int) -> int:
        _, thread, name = self._events[at : at + 3]
        call = self._open.innermost(thread)
        self._unseen[Unseen(name, call.index if call else None)] = None
        return at + 3

    def _note_gap(self, at: int) -> int:
        _, start, end, self._grad = self._events[at : at + 4]
        self._gap = (self._open.count, self._stamp(start), self._stamp(end))
        return at + 4

    def _note_read(self, at: int) -> int:
        call = self._open.innermost()
        if call is not None:
            call.reads += 1
        else:
            self._reads += 1
        return at + 1

    def _note_spent(self, at: int) -> int:
        _, thread, since, until = self._events[at : at + 4]
        call = self._open.innermost(thread)
        if call is not None:
            self._spend(call, since, until)
        return at + 4

    def _note_waited(self, at: int) -> int:
        self.waits.for_processor(*self._events[at + 1 : at + 4])
        return at + 4

    def _note_begun(self, at: int) -> int:
        self.waits.begun(len(self._functions) - 1, self._events[at + 1])
        return at + 2

    def _spend(self, call: OpenCall | None, since: Any, until: Any) -> None:
        """The recorder itself worked from stamp to stamp: in a call's own time, or
        around the next function, outside of modules."""
        # the other way round: the first stamp of all is where time begins
        b, a = self._stamp(until), self._stamp(since)
        if call is not None:
            self._open.spent(call, a, b)
        else:
            self._outside.extend((len(self._functions), a, b))

    # -- module calls -------------------------------------------------------------

    def _enter(self, at: int) -> int:
        _, site, stamp, thread, code, lasti = self._events[at : at + 6]
        source = self._place(code, lasti)
        order = self.versions.order
        self._open.begin(site, self._stamp(stamp), thread, source, order)
        return at + 6

    def _enter_inside(self, at: int) -> int:
        _, site, stamp = self._events[at : at + 3]
        self._open.begin(site, self._stamp(stamp), 0, None, self.versions.order)
        return at + 3

    def _leave(self, at: int) -> int:
        kind, site, stamp, thread, kwargs, n = self._events[at : at + 6]
        args = self._events[at + 6 : at + 6 + n]
        at += 6 + n
        self._end(kind, site, stamp, thread, args, kwargs, self._events[at])
        return at + 1

    def _leave_one(self, at: int) -> int:
        _, site, stamp, given, output = self._events[at : at + 5]
        self._end(raw.LEAVE, site, stamp, 0, [given], None, output)
        return at + 5

    def _end(
        self,
        kind: int,
        site: Site,
        stamp: Any,
        thread: int,
        args: list[Any],
        kwargs: dict[str, Any] | None,
        output: Any,
    ) -> None:
        versions = self.versions
        call = self._open.ending(site, thread, versions.order)
        if call is None:
            return
        found = versions.inputs_at_entry(args, kwargs, call.order)
        if not site.pre_hooked:
            were = [self._was_there(ref, call) for ref in found]
            found = found if all(were) else tuple(compress(found, were))
        call.inputs = found
        if kind == raw.FAIL:
            error = None if output[0] == _ENOUGH else self._error(output)
            self._open.close(call, self._stamp(stamp), versions.order, error=error)
            return
        if not self._has_functions:
            versions.renew(output, call.order)
        outputs = versions.flat(output, "output")
        for ref in outputs:
            # first met as what this call returns: made inside, where nothing is seen
            if versions.defined_after(ref, self._noted) and not any(
                ref.id == given.id for given in found
            ):
                versions.origins.pop(ref.id, None)
        end = self._stamp(stamp)
        self._open.close(call, end, versions.order, outputs, outline(output))

    def _was_there(self, ref: TensorRef, call: OpenCall) -> bool:
        """Whether a tensor among the arguments, as they were at the end of a call, was
        there when it began: a forward may put what it made into a list it was given."""
        versions = self.versions
        return not versions.defined_after(ref, call.order) or ref.id in versions.origins

    # -- function calls -----------------------------------------------------------

    def _call(self, at: int) -> int:
        kind, func, code, lasti, kwargs, n = self._events[at : at + 6]
        args = self._events[at + 6 : at + 6 + n]
        at += 6 + n
        start, end = self._events[at : at + 2]
        at += 2
        if id(func) not in self._names:
            self._names[id(func)] = function_names(func)
        name, qualname = self._names[id(func)]
        thread, self._thread = self._thread, 0
        parent = self._open.innermost(thread)
        reads = 0
        if parent is None:
            reads, self._reads = self._reads, 0
        versions = self.versions
        thawed, named, inputs = versions.inputs(args, kwargs)
        outputs: tuple[TensorRef, ...] | None = None
        error = None
        if kind == raw.MAKE:
            ref, dtype, device, rank = self._events[at : at + 4]
            at += 5 + rank
            *shape, met = self._events[at - rank - 1 : at]
            self._spend(parent, met, start)
            outputs = versions.new(ref, shape, dtype, device, "output")
        else:
            if kind == raw.RAISE:
                error = self._error(self._events[at])
            else:
                path = "args[0]" if name == "setitem" else "output"
                outputs = versions.flat(self._events[at], path)
                met, left = self._events[at + 1 : at + 3]
                self._spend(parent, met, start)
                self._spend(parent, end, left)
                at += 2
            at += 1
        source = self._place(code, lasti)
        if name.startswith("_") and not inputs and not outputs and error is None:
            self._keep_books(name, thawed, start, end, source)
            return at
        self._function_stamps.append(self._stamp(start))
        self._stamp(end)
        self._functions.append(
            FunctionCall(
                index=versions.number(len(self._functions)),
                parent=parent.index if parent else None,
                name=name,
                qualname=qualname,
                inputs=inputs,
                outputs=outputs,
                source=parent.source if source is None and parent else source,
                error=error,
                args=thawed,
                kwargs=named,
                direct=code is not None or parent is None,
                order=versions.order,
                grad=self._grad,
                attribute_reads=reads,
            )
        )
        return at

    def _keep_books(
        self,
        name: str,
        args: tuple[Any, ...],
        start: Any,
        end: Any,
        source: Source | None,
    ) -> None:
        """Torch's own bookkeeping, which is no call of the batch: what switches
        autograd, and where a `record_function` begins and ends."""
        if name == "_set_grad_enabled" and args:
            self._grad = bool(args[0])
        elif name == "_record_function_enter_new":
            begun = self._stamp(start), source, self.versions.order
            self._ranges.begin(str(args[0]), *begun)
        elif name.startswith("_record_function_exit"):
            call = self._open.innermost()
            around = call.source if call else None
            self._ranges.end(self._stamp(end), around, self.versions.order)

    # -- parts --------------------------------------------------------------------

    def _stamp(self, stamp: Any) -> int:
        self._stamps.append(stamp)
        return len(self._stamps) - 1

    def _place(self, code: CodeType | None, lasti: int) -> Source | None:
        if code is None:
            return None
        key = (code, lasti)
        if key not in self._places:
            self._places[key] = locate(code, lasti)
        return self._places[key]

    def _error(self, error: raw.Failure | None) -> CallError | None:
        if error is None:
            return None
        kind, message, identity, place = error
        source = self._place(*place) if place else None
        return CallError(kind, message, identity, source)

    def _finish(self, times: list[int], around: list[int]) -> None:
        """Put the resolved times into the records; `around`: of waits and the begin."""
        zero = times[0]
        self.calls = self._open.timed(times)
        for function, at in zip(self._functions, self._function_stamps, strict=True):
            function.start_ns = times[at] - zero
            function.duration_ns = times[at + 1] - times[at]
        outside = iter(self._outside)
        for at, a, b in zip(outside, outside, outside, strict=True):
            if at < len(self._functions):
                self._functions[at].tracer_ns += times[b] - times[a]
        self.functions = tuple(self._functions)
        self.ranges = self._ranges.timed(times)
        self.live = self._holding.timed(times, zero, self.functions)
        self.unseen, self.before_ns = tuple(self._unseen), zero - around.pop()
        self.waits.timed(around, zero, times[-1])
        #: the first call after what was left out, and when that began and ended
        self.gap: tuple[int, int, int] | None = None
        if self._gap is not None:
            following, a, b = self._gap
            self.gap = following, times[a] - zero, times[b] - zero
        self.duration_ns = times[-1] - zero
