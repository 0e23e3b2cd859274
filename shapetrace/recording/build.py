"""Raw events to records: parents, ids, times and places are worked out here.

One class, longer than the other files: its readers share the open calls, the versions
of the tensors and the clock stamps, and they run once for every event.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal

from shapetrace.recording import events as raw
from shapetrace.recording.function_names import function_names
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import SeenModule
from shapetrace.recording.table import Site
from shapetrace.recording.tensors import PLAIN, Nested, Reference, address, outline
from shapetrace.records import (
    CallError,
    FunctionCall,
    LiveBytes,
    ModuleCall,
    ModuleInfo,
    Opaque,
    Origin,
    Range,
    Source,
    TensorRef,
)
from shapetrace.source.place import inits, locate

if TYPE_CHECKING:
    from shapetrace.recording.extensions.base import Cell
    from shapetrace.recording.extensions.memory import Held

#: checkpointing ends a recomputation by it, once it has what the backward needs
_ENOUGH = "_StopRecomputationError"

_UNFINISHED = CallError("Unfinished", "the traced block ended before this call")

_NO_KWARGS: dict[str, Any] = {}
_ARGS = tuple(f"args[{i}]" for i in range(16))


class _Open:
    """A module call on its way."""

    __slots__ = (
        *("index", "parent", "depth", "site", "inputs", "start", "source"),
        *("thread", "recomputed", "order"),
    )

    index: int
    parent: _Open | None
    depth: int
    site: Site
    inputs: tuple[TensorRef, ...]
    start: int
    source: Source | None
    thread: int
    recomputed: bool
    order: int


class Replay:
    """One pass over the events of a recorder. Read `calls`, `functions`, `origins`,
    `modules`, `values` and `ids` (reference to tensor id) afterwards."""

    def __init__(
        self,
        recorder: Recorder,
        modules: Sequence[SeenModule],
        error: raw.Failure | None = None,
        *,
        running: bool = False,
    ) -> None:
        self._events = list(recorder.events)
        self._has_functions = recorder.functions
        self._stamps: list[Any] = []
        self._versions: dict[int, TensorRef] = {}
        self._defined_at: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._next = 0
        self._order = 0
        self._open: dict[int, list[_Open]] = {0: []}
        self._recomputed: set[int] = set()
        self._thread = 0
        self._seen = 0
        self._entered: int | None = None
        self._earlier: dict[int, TensorRef] = {}
        self._places: dict[tuple[CodeType, int], Source] = {}
        self._inits: dict[type, tuple[Source, ...]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._refs: dict[tuple[int, str], TensorRef] = {}
        self._plain: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._calls: list[ModuleCall | None] = []
        self._functions: list[FunctionCall] = []
        self._times: list[tuple[int, int]] = []
        self._cells: dict[int, Cell] = {}
        self._noted: list[dict[str, Any]] = []
        self._live: list[tuple[int, Held, int | None]] = []
        self._ranges: list[tuple[str, int, int, Source | None]] = []
        self._ranges_open: list[tuple[str, int, CodeType | None, int]] = []
        self._grad = recorder.grad
        self._function_times: list[tuple[int, int]] = []
        self.origins: dict[int, Origin] = {}
        self.values: dict[int, tuple[int, int]] = {}
        self._run()
        self._order += 1
        self.error = self._error(error)
        for stack in self._open.values():
            while stack:
                call = stack.pop()
                left = None if running else _UNFINISHED
                self._close(call, len(self._stamps), None, left)
        clock = recorder.clock
        ends = len(self._stamps)
        self._stamps.append(clock.now())
        self._finish(clock.resolve(self._stamps), ends)
        self.modules = {seen.name: self._module(seen) for seen in modules}
        for seen in modules:
            self._name_tensors(seen, "parameter", seen.parameters)
            self._name_tensors(seen, "buffer", seen.buffers)

    def forget(self, known: Collection[Reference]) -> None:
        """Keep the records, and the versions of these tensors, and nothing else."""
        kept = {id(ref): self._versions.get(id(ref)) for ref in known}
        self._versions = {key: ref for key, ref in kept.items() if ref is not None}
        for part in (self._events, self._stamps, self._calls, self._functions):
            part.clear()
        for table in (
            *(self._refs, self._plain, self._defined_at, self._first),
            self._earlier,
        ):
            table.clear()
        for spans in (self._times, self._function_times, self._noted, self._live):
            spans.clear()

    # -- the events ---------------------------------------------------------------

    def _run(self) -> None:
        events, end, position = self._events, len(self._events), 0
        readers: dict[int, Callable[[int], int]] = {
            raw.ENTER: self._enter,
            raw.ENTER_INSIDE: self._enter_inside,
            raw.LEAVE: self._leave,
            raw.LEAVE_ONE: self._leave_one,
            raw.FAIL: self._leave,
            raw.CALL: self._call,
            raw.MAKE: self._call,
            raw.RAISE: self._call,
            raw.DEFINE: self._define_event,
            raw.THREAD: self._note_thread,
            raw.RECOMPUTED: self._mark_recomputed,
            raw.LEFT: self._left,
            raw.VALUES: self._note_values,
            raw.NOTE: self._note_cell,
            raw.LIVE: self._note_live,
        }
        while position < end:
            self._order += 1
            kind = events[position]
            position = readers[kind](position)
            if kind != raw.DEFINE:
                self._seen = self._order

    def _define_event(self, at: int) -> int:
        _, ref, shape, dtype, device, origin = self._events[at : at + 6]
        made = self._new(ref, shape, dtype, device)
        self.origins[made.id] = origin
        return at + 6

    def _mark_recomputed(self, at: int) -> int:
        self._recomputed.add(self._events[at + 1])
        return at + 2

    def _note_thread(self, at: int) -> int:
        self._thread = self._events[at + 1]
        return at + 2

    def _note_values(self, at: int) -> int:
        _, ref, span = self._events[at : at + 3]
        version = self._versions.get(id(ref))
        if version is not None:
            self.values[version.id] = span
        return at + 3

    def _note_cell(self, at: int) -> int:
        _, thread, cell = self._events[at : at + 3]
        self._cells[thread] = cell
        return at + 3

    def _note_live(self, at: int) -> int:
        _, stamp, held = self._events[at : at + 3]
        call = self._open[0][-1].index if self._open[0] else None
        self._live.append((self._stamp(stamp), held, call))
        return at + 3

    def _enter(self, at: int) -> int:
        self._begin(*self._events[at + 1 : at + 6])
        return at + 6

    def _enter_inside(self, at: int) -> int:
        self._begin(self._events[at + 1], self._events[at + 2], 0, None, 0)
        return at + 3

    def _begin(
        self, site: Site, stamp: Any, thread: int, code: CodeType | None, lasti: int
    ) -> None:
        stack = self._open.setdefault(thread, [])
        parent = stack[-1] if stack else self._foreign_parent(site.name, thread)
        call = _Open()
        call.index = len(self._calls)
        call.parent = parent
        call.depth = parent.depth + 1 if parent else 0
        call.site = site
        call.inputs = ()
        call.start = self._stamp(stamp)
        call.source = self._place(code, lasti, parent)
        call.thread = thread
        call.recomputed = thread in self._recomputed or bool(
            parent and parent.recomputed
        )
        call.order = self._order
        self._recomputed.discard(thread)
        cell = self._cells.pop(thread, None)
        self._noted.append({} if cell is None else cell.fields)
        self._calls.append(None)
        self._times.append((0, 0))
        stack.append(call)

    def _foreign_parent(self, name: str, thread: int) -> _Open | None:
        """A call in another thread belongs to the open call of a module above it in
        the tracing thread (nn.DataParallel); else it stands on its own."""
        if thread == 0:
            return None
        for call in reversed(self._open[0]):
            above = call.site.name
            if name != above and (above == "" or name.startswith(above + ".")):
                return call
        return None

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
        call = self._matching(site, thread)
        if call is None:  # an interrupt came between its entry and the note of it
            return
        found: list[TensorRef] = []
        self._entered = call.order
        self._arguments(args, kwargs, found)
        self._entered = None
        if not site.pre_hooked:
            found = [ref for ref in found if self._was_there(ref, call)]
        call.inputs = tuple(found)
        if kind == raw.FAIL:
            error = None if output[0] == _ENOUGH else output
            self._close(call, self._stamp(stamp), None, self._error(error))
            return
        if not self._has_functions:
            self._renew(output, call)
        outputs = self._flat(output, "output")
        for ref in outputs:
            # first met as what this call returns: made inside, where nothing is seen
            if self._defined_at.get(ref.id, 0) > self._seen and not any(
                ref.id == given.id for given in found
            ):
                self.origins.pop(ref.id, None)
        self._close(call, self._stamp(stamp), (outputs, outline(output)), None)

    def _was_there(self, ref: TensorRef, call: _Open) -> bool:
        """Whether a tensor among the arguments, as they were at the end of a call, was
        there when it began: a forward may put what it made into a list it was given."""
        return self._defined_at[ref.id] <= call.order or ref.id in self.origins

    def _left(self, at: int) -> int:
        _, thread, count = self._events[at : at + 3]
        stack = self._open.get(thread, [])
        while len(stack) > count:
            self._close(stack.pop(), len(self._stamps) - 1, None, _UNFINISHED)
        return at + 3

    def _matching(self, site: Site, thread: int) -> _Open | None:
        stack = self._open.get(thread, [])
        if not any(call.site is site for call in stack):
            return None
        while stack[-1].site is not site:  # an interrupt came before its end was noted
            self._close(stack.pop(), len(self._stamps) - 1, None, _UNFINISHED)
        return stack.pop()

    def _close(
        self,
        call: _Open,
        end: int,
        made: tuple[tuple[TensorRef, ...], str] | None,
        error: CallError | None,
    ) -> None:
        self._times[call.index] = (call.start, end)
        self._calls[call.index] = ModuleCall(
            index=call.index,
            parent=call.parent.index if call.parent else None,
            depth=call.depth,
            name=call.site.name,
            type=call.site.kind.__name__,
            inputs=call.inputs,
            outputs=made[0] if made else None,
            source=call.source,
            error=error,
            thread=call.thread,
            recomputed=call.recomputed,
            order=call.order,
            end_order=self._order,
            output_type=made[1] if made else "",
        )

    def _call(self, at: int) -> int:
        kind, func, code, lasti, kwargs, n = self._events[at : at + 6]
        args = self._events[at + 6 : at + 6 + n]
        at += 6 + n
        start, end = self._events[at : at + 2]
        at += 2
        if id(func) not in self._names:
            self._names[id(func)] = function_names(func)
        name, qualname = self._names[id(func)]
        thawed, named, inputs = self._inputs(args, kwargs)
        outputs: tuple[TensorRef, ...] | None = None
        error = None
        if kind == raw.MAKE:
            ref, dtype, device, rank = self._events[at : at + 4]
            at += 4 + rank
            made = self._new(ref, self._events[at - rank : at], dtype, device)
            outputs = (self._ref(made, "output"),)
        else:
            if kind == raw.RAISE:
                error = self._error(self._events[at])
            else:
                path = "args[0]" if name == "setitem" else "output"
                outputs = self._flat(self._events[at], path)
            at += 1
        if name.startswith("_") and not inputs and not outputs and error is None:
            self._thread = 0
            if name == "_set_grad_enabled" and thawed:
                self._grad = bool(thawed[0])
            elif name == "_record_function_enter_new":
                begun = (str(thawed[0]), self._stamp(start), code, lasti)
                self._ranges_open.append(begun)
            elif name.startswith("_record_function_exit") and self._ranges_open:
                self._close_range(self._stamp(end))
            return at  # torch's own bookkeeping: _set_grad_enabled, record_function
        stack = self._open.get(self._thread)
        self._thread = 0
        parent = stack[-1] if stack else None
        self._function_times.append((self._stamp(start), self._stamp(end)))
        self._functions.append(
            FunctionCall(
                index=len(self._functions),
                parent=parent.index if parent else None,
                name=name,
                qualname=qualname,
                inputs=inputs,
                outputs=outputs,
                source=self._place(code, lasti, parent),
                error=error,
                args=thawed,
                kwargs=named,
                direct=code is not None or parent is None,
                order=self._order,
                grad=self._grad,
            )
        )
        return at

    def _close_range(self, end: int) -> None:
        label, start, code, lasti = self._ranges_open.pop()
        parent = self._open[0][-1] if self._open[0] else None
        place = self._place(code, lasti, parent)
        self._ranges.append((label, start, end, place))

    # -- parts --------------------------------------------------------------------

    def _stamp(self, stamp: Any) -> int:
        self._stamps.append(stamp)
        return len(self._stamps) - 1

    def _place(
        self, code: CodeType | None, lasti: int, parent: _Open | None
    ) -> Source | None:
        if code is None:
            return parent.source if parent else None
        key = (code, lasti)
        if key not in self._places:
            self._places[key] = locate(code, lasti)
        return self._places[key]

    def _error(self, error: raw.Failure | None) -> CallError | None:
        if error is None:
            return None
        kind, message, identity, place = error
        source = self._place(*place, None) if place else None
        return CallError(kind, message, identity, source)

    def _new(self, ref: Reference, shape: Any, dtype: Any, device: Any) -> TensorRef:
        """The next version of a tensor."""
        self._next += 1
        made = TensorRef("", self._next, tuple(shape), dtype, device)
        before = self._versions.get(id(ref))
        if before is not None:
            self._earlier[made.id] = before
        self._versions[id(ref)] = made
        self._first.setdefault(id(ref), made.id)
        self._defined_at[made.id] = self._order
        return made

    def _renew(self, frozen: Any, call: _Open) -> None:
        """Without function events the module call is what made its outputs, also
        where it handed an input on or changed it in place."""
        if isinstance(frozen, weakref.ref):
            old = self._versions.get(id(frozen))
            if old is not None and self._defined_at[old.id] < call.order:
                self._new(frozen, old.shape, old.dtype, old.device)
        elif isinstance(frozen, Nested):
            for part in frozen.values:
                self._renew(part, call)

    def _inputs(
        self, args: list[Any], kwargs: dict[str, Any] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[TensorRef, ...]]:
        found: list[TensorRef] = []
        thawed, named = self._arguments(args, kwargs, found)
        inputs = tuple(found)
        return inputs if thawed == inputs else thawed, named, inputs

    def _arguments(
        self, args: list[Any], kwargs: dict[str, Any] | None, found: list[TensorRef]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        thaw = self._thaw
        thawed = []
        for i, arg in enumerate(args):
            if type(arg) in PLAIN:
                thawed.append(arg)
            else:
                path = _ARGS[i] if i < len(_ARGS) else f"args[{i}]"
                thawed.append(thaw(arg, path, found))
        # what is equal is kept once: a call must not cost more than a kilobyte
        named = self._named(kwargs, found) if kwargs else _NO_KWARGS
        return tuple(thawed), named

    def _named(self, kwargs: dict[str, Any], found: list[TensorRef]) -> dict[str, Any]:
        key = tuple((name, type(arg), arg) for name, arg in kwargs.items())
        if all(kind in PLAIN for _, kind, _ in key):
            return self._plain.setdefault(key, kwargs)
        return {
            name: self._thaw(arg, f"kwargs[{name!r}]", found)
            for name, arg in kwargs.items()
        }

    def _ref(self, version: TensorRef, path: str) -> TensorRef:
        """A version of a tensor, found at a place in the arguments or outputs."""
        key = (version.id, path)
        ref = self._refs.get(key)
        if ref is None:
            ref = self._refs[key] = TensorRef(
                path, version.id, version.shape, version.dtype, version.device
            )
        return ref

    def _flat(self, frozen: Any, path: str) -> tuple[TensorRef, ...]:
        found: list[TensorRef] = []
        self._thaw(frozen, path, found)
        return tuple(found)

    def _thaw(self, frozen: Any, path: str, found: list[TensorRef]) -> Any:
        """Frozen data as tuples, lists and dicts; its tensors are added to `found`."""
        if type(frozen) in PLAIN:
            return frozen
        if type(frozen) is tuple:
            frozen = self._new(*frozen)
        elif isinstance(frozen, weakref.ref):
            frozen = self._version(frozen)
        if isinstance(frozen, TensorRef):
            ref = self._ref(frozen, path)
            found.append(ref)
            return ref
        if isinstance(frozen, Nested):
            parts = [
                self._thaw(part, address(path, frozen.style, key), found)
                for key, part in zip(frozen.keys, frozen.values, strict=True)
            ]
            if frozen.kind == "slice":
                return slice(*parts)
            if frozen.kind == "list":
                return parts
            if frozen.keys != tuple(range(len(parts))):
                return dict(zip(frozen.keys, parts, strict=True))
            return tuple(parts)
        return frozen

    def _version(self, reference: Reference) -> TensorRef | Opaque:
        """The newest version of a tensor. For the inputs of a module call, which are
        noted at its end: the newest that was there when it was entered, or the first
        of one that was not met before."""
        found = self._versions.get(id(reference))
        if found is None:
            return Opaque("Tensor")
        if self._entered is not None:
            while self._defined_at[found.id] > self._entered:
                before = self._earlier.get(found.id)
                if before is None:
                    break
                found = before
        return found

    def _finish(self, times: list[int], last: int) -> None:
        """Put the resolved times into the records."""
        zero = times[0] if times else 0
        spans = [(times[a], times[min(b, last)]) for a, b in self._times]
        inside = [0] * len(spans)
        done = [call for call in self._calls if call is not None]
        for call in done:
            if call.parent is not None and done[call.parent].thread == call.thread:
                inside[call.parent] += spans[call.index][1] - spans[call.index][0]
        for call, (start, end) in zip(done, spans, strict=True):
            call.start_ns = start - zero
            call.duration_ns = end - start
            call.self_ns = max(0, end - start - inside[call.index])
            for key, value in self._noted[call.index].items():
                setattr(call, key, value)
        self.calls = tuple(done)
        for function, (a, b) in zip(self._functions, self._function_times, strict=True):
            function.start_ns = times[a] - zero
            function.duration_ns = times[b] - times[a]
        self.functions = tuple(self._functions)
        self.ranges = tuple(
            Range(label, times[start] - zero, times[end] - times[start], source)
            for label, start, end, source in self._ranges
        )
        self.live = tuple(
            LiveBytes(times[at] - zero, *held, call) for at, held, call in self._live
        )
        self.duration_ns = times[last] - zero if times else 0

    def version(self, reference: Reference | None) -> TensorRef | None:
        """The newest version of a tensor, given its reference."""
        return self._versions.get(id(reference)) if reference is not None else None

    def _module(self, seen: SeenModule) -> ModuleInfo:
        return ModuleInfo(
            name=seen.name,
            type=seen.kind.__name__,
            qualname=f"{seen.kind.__module__}.{seen.kind.__qualname__}",
            parameters=self._own(seen.parameters),
            buffers=self._own(seen.buffers),
            attributes=dict(reversed(seen.attributes.items())),
            training=seen.training,
            inits=self._inits_of(seen.kind),
        )

    def _inits_of(self, kind: type) -> tuple[Source, ...]:
        if kind not in self._inits:
            self._inits[kind] = inits(kind)
        return self._inits[kind]

    def _name_tensors(
        self,
        seen: SeenModule,
        kind: Literal["parameter", "buffer"],
        tensors: Sequence[tuple[str, Reference]],
    ) -> None:
        """Parameters were used before it was asked what they are called."""
        for key, reference in tensors:
            first = self._first.get(id(reference), 0)
            origin = self.origins.get(first)
            if origin is not None and origin.kind in ("outside", "unseen"):
                full = f"{seen.name}.{key}" if seen.name else key
                named = Origin(kind, full, origin.requires_grad)
                self.origins[first] = named
                filled = self._versions.get(id(reference))
                if seen.lazy and filled is not None:  # as its initialisation left it
                    self.origins.setdefault(filled.id, named)

    def _own(self, tensors: Sequence[tuple[str, Reference]]) -> tuple[TensorRef, ...]:
        found = []
        for key, reference in tensors:
            version = self._versions.get(id(reference))
            if version is not None:
                found.append(replace(version, path=key))
        return tuple(found)
