"""The account of a trace: one `CallCost` for each module call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from shapetrace.costs.counts import CallCounts, FunctionCounts
from shapetrace.costs.device_times import on_device
from shapetrace.costs.repeat import size
from shapetrace.costs.times import Times, corrected
from shapetrace.records import Recording, TensorRef
from shapetrace.records.garbage import uncollected
from shapetrace.records.printable import printable

#: more of the corrected time than this is too much to be uncertain of
_UNSETTLED = 0.3


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one module call and all inside it cost; None where it is unknown.

    `moved_bytes` is what the operations of all functions must read and write at least
    where nothing is fused. `parameter_bytes` and `buffer_bytes` are those of the
    module and of all modules in it, each tensor once. `corrected_ns` is the duration
    without the tracer's own cost. An untraced batch takes that give or take
    `uncertain_ns`: by how much the correction may be off, and how much the same work
    swings on this machine.
    """

    index: int
    flops: int | None = None
    backward_flops: int | None = None
    input_bytes: int = 0
    output_bytes: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    moved_bytes: int | None = None
    corrected_ns: int | None = None
    corrected_self_ns: int | None = None
    uncertain_ns: int | None = None
    #: time on the accelerator, and that of the call itself, without the calls inside
    device_ns: int | None = None
    own_device_ns: int | None = None
    #: what rates are worked out with: the accelerator's time where there is one, else
    #: the corrected one, else the recorded one; 0 when not timed
    time_ns: int = 0
    #: what is inside and not in the FLOPs: functions, modules, gradients
    uncounted: tuple[str, ...] = ()

    @property
    def intensity(self) -> float | None:
        """FLOPs a byte moved."""
        if self.flops is None or not self.moved_bytes:
            return None
        return self.flops / self.moved_bytes

    @property
    def flops_per_second(self) -> float | None:
        """The rate that was reached."""
        if self.flops is None or not self.time_ns:
            return None
        return self.flops / self.time_ns * 1e9

    @property
    def bytes_per_second(self) -> float | None:
        """The rate at which operands and results were moved, at least."""
        if self.moved_bytes is None or not self.time_ns:
            return None
        return self.moved_bytes / self.time_ns * 1e9


@dataclass(frozen=True, slots=True, repr=False)
class Costs:
    """The costs of a trace. `uncounted` names what is not in the FLOPs; with `complete`
    that is nothing."""

    calls: tuple[CallCost, ...]
    function_flops: tuple[int | None, ...]
    function_backward_flops: tuple[int | None, ...]
    function_moved_bytes: tuple[int, ...]
    #: what a function made and held at a time, where that is more than what it left and
    #: memory was recorded; 0 else
    function_most_bytes: tuple[int, ...]
    #: what nodes of its backward hold while they run, beside what they are given and
    #: give, by their names, where that is anything
    function_node_bytes: tuple[dict[str, int], ...]
    flops: int | None
    backward_flops: int | None
    uncounted: tuple[str, ...]
    #: of the outermost calls, nanoseconds; corrected is None where it is unknown
    measured_ns: int
    corrected_ns: int | None
    uncertain_ns: int | None
    #: for so long the tracing thread waited in them for a processor, which is in no
    #: corrected time
    waited_ns: int = 0
    #: the part of what is uncertain that is the machine's, in which all calls share
    swing_ns: int = 0

    @property
    def complete(self) -> bool:
        return self.flops is not None and not self.uncounted

    @property
    def settled(self) -> bool:
        """Whether the corrected times are known well enough to go by: where the tracer
        took much of the time, or its cost was measured on a busy machine, they are
        not, and tables sort by what was measured."""
        if self.corrected_ns is None or self.uncertain_ns is None:
            return False
        return self.uncertain_ns - self.swing_ns <= _UNSETTLED * self.corrected_ns

    @property
    def distortion(self) -> float | None:
        """The tracer's own share of the measured time."""
        if self.corrected_ns is None or not self.measured_ns:
            return None
        return 1 - (self.corrected_ns + self.waited_ns) / self.measured_ns

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self._told())
        calls = (
            "1 module call"
            if len(self.calls) == 1
            else f"{len(self.calls):,} module calls"
        )
        return f"<Costs of {calls}: {said}>"

    def _repr_html_(self) -> str:
        # a notebook's own style puts a table and its cells to the right
        left = "text-align:left"
        rows = "".join(
            f'<tr><th style="{left}">{escape(name)}</th>'
            f'<td style="{left}">{escape(value)}</td></tr>'
            for name, value in self._told()
        )
        return f'<table style="margin:0">{rows}</table>'

    def _told(self) -> list[tuple[str, str]]:
        """The totals in words."""
        said = [("measured", f"{self.measured_ns / 1e6:,.2f} ms")]
        if self.corrected_ns is not None:
            own = f"{self.corrected_ns / 1e6:,.2f} ms"
            said.append(("without the tracer's own cost", own))
        if self.flops is not None:
            said.append(("FLOPs forward", f"{self.flops:,}"))
        if self.backward_flops is not None:
            said.append(("FLOPs backward", f"{self.backward_flops:,}"))
        if self.uncounted:
            names = printable(", ".join(self.uncounted), keep="")
            said.append(("not counted", names))
        return said


def unknown_costs(rec: Recording) -> Costs:
    """Of a recording whose costs cannot be worked out."""
    return Costs(
        calls=tuple(
            CallCost(call.index, time_ns=call.duration_ns) for call in rec.calls
        ),
        function_flops=(None,) * len(rec.functions),
        function_backward_flops=(None,) * len(rec.functions),
        function_moved_bytes=(0,) * len(rec.functions),
        function_most_bytes=(0,) * len(rec.functions),
        function_node_bytes=({},) * len(rec.functions),
        flops=None,
        backward_flops=None,
        uncounted=(),
        measured_ns=sum(c.duration_ns for c in rec.calls if c.parent is None),
        corrected_ns=None,
        uncertain_ns=None,
    )


@uncollected()
def costs(rec: Recording) -> Costs:
    """The costs of every call of a recording."""
    functions = FunctionCounts(rec)
    counts = CallCounts(rec, functions)
    times = corrected(rec)
    held = _held(rec)
    device = on_device(rec, times)
    seen, ran = rec.has_functions, functions.ran
    made: list[CallCost] = []
    for call in rec.calls:
        at, (parameters, buffers) = call.index, held.get(call.name, (0, 0))
        time = times.calls[at] if times else None
        made.append(
            CallCost(
                index=at,
                flops=counts.forward[at] if seen else None,
                backward_flops=counts.backward[at] if ran else None,
                input_bytes=size(call.inputs),
                output_bytes=size(call.outputs or ()),
                parameter_bytes=parameters,
                buffer_bytes=buffers,
                moved_bytes=counts.moved[at] if seen else None,
                corrected_ns=time.total_ns if time else None,
                corrected_self_ns=time.self_ns if time else None,
                uncertain_ns=time.uncertain_ns if time else None,
                device_ns=device[at].total_ns,
                own_device_ns=device[at].self_ns,
                time_ns=device[at].total_ns
                or (time.total_ns if time else call.duration_ns),
                uncounted=tuple(sorted(counts.missing[at])),
            )
        )
    tops = [call.index for call in rec.calls if call.parent is None]
    again = [at for at in tops if rec.calls[at].recomputed]
    measured = [at for at in tops if at not in again]
    known = [times.calls[at] for at in measured] if times else []
    corrected_ns = sum(one.total_ns for one in known)
    swing = rec.overhead.swing if rec.overhead is not None else 0.0
    forward = _sum(functions.forward) + sum(counts.forward[at] for at in again)
    return Costs(
        calls=tuple(made),
        function_flops=tuple(functions.forward),
        function_backward_flops=tuple(functions.backward),
        function_moved_bytes=tuple(functions.moved),
        function_most_bytes=tuple(functions.most),
        function_node_bytes=tuple(functions.nodes),
        flops=forward if seen else None,
        backward_flops=_sum(functions.backward) if ran else None,
        uncounted=tuple(sorted(counts.missing_in_all)),
        measured_ns=sum(rec.calls[at].duration_ns for at in measured),
        corrected_ns=corrected_ns if times else None,
        uncertain_ns=sum(one.uncertain_ns for one in known) if times else None,
        waited_ns=_waited(rec, times) if times else 0,
        swing_ns=round(swing * corrected_ns),
    )


def _waited(rec: Recording, times: Times) -> int:
    """For how long the thread waited for a processor inside of modules."""
    inside = 0
    for one in times.waits:
        parent = one.call
        if one.function is not None:
            parent = rec.functions[one.function].parent
        if parent is not None:
            inside += one.waited_ns
    return inside


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)


def _held(rec: Recording) -> dict[str, tuple[int, int]]:
    """Bytes of parameters and of buffers by module, those inside it included."""
    held: dict[str, tuple[dict[int, TensorRef], dict[int, TensorRef]]] = {}
    for name, info in rec.modules.items():
        parts = name.split(".") if name else []
        for depth in range(len(parts) + 1):
            parameters, buffers = held.setdefault(".".join(parts[:depth]), ({}, {}))
            parameters.update((ref.id, ref) for ref in info.parameters)
            buffers.update((ref.id, ref) for ref in info.buffers)
    return {
        name: (size(tuple(parameters.values())), size(tuple(buffers.values())))
        for name, (parameters, buffers) in held.items()
    }
