"""The account of a trace: one `CallCost` for each module call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shapetrace.costs.flops import Count, FlopCounter
from shapetrace.costs.gradients import backwards
from shapetrace.records import ModuleCall, Recording, TensorRef

#: they hand out the same memory in another shape
_VIEWS = {
    *("view", "view_as", "reshape", "flatten", "unflatten", "transpose", "permute", "t"),
    *("T", "mT", "squeeze", "unsqueeze", "expand", "expand_as", "chunk", "split"),
    *("unbind", "narrow", "select", "detach", "contiguous", "swapaxes", "movedim"),
    *("size", "dim", "numel", "requires_grad_", "backward", "grad", "item"),
}


@dataclass(frozen=True, slots=True)
class CallCost:
    """What one module call and all inside it cost; None where it is unknown.

    `moved_bytes` counts every operand and result of every function once: what must
    be read and written at least where nothing is fused. `corrected_ns` is the
    duration without the tracer's own cost.
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
    #: the functions inside whose FLOPs could not be counted
    uncounted: tuple[str, ...] = ()

    @property
    def intensity(self) -> float | None:
        """FLOPs a byte moved."""
        if self.flops is None or not self.moved_bytes:
            return None
        return self.flops / self.moved_bytes


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a trace. `uncounted` names the functions without a figure; with
    `complete` there is none, and the totals are those of `FlopCounterMode`."""

    calls: tuple[CallCost, ...]
    function_flops: tuple[int | None, ...]
    function_backward_flops: tuple[int | None, ...]
    flops: int | None
    backward_flops: int | None
    uncounted: tuple[str, ...]
    #: of the outermost calls, nanoseconds; corrected is None where it is unknown
    measured_ns: int
    corrected_ns: int | None

    @property
    def complete(self) -> bool:
        return self.flops is not None and not self.uncounted

    @property
    def distortion(self) -> float | None:
        """The tracer's own share of the measured time."""
        if self.corrected_ns is None or not self.measured_ns:
            return None
        return 1 - self.corrected_ns / self.measured_ns


def costs(rec: Recording) -> Costs:
    """The costs of every call of a recording."""
    forward, backward, ran = _counts(rec)
    inside = _subtrees(rec.calls)
    own: dict[int | None, list[int]] = defaultdict(list)
    for function in rec.functions:
        own[function.parent].append(function.index)
    names = [call.name for call in rec.functions]
    made: list[CallCost] = []
    corrected = _corrected(rec)
    moved = [0 if call.name in _VIEWS else _bytes(call.inputs) + _bytes(call.outputs)
             for call in rec.functions]
    sums = _Sums(rec.calls, own, forward, backward, moved)
    for call in rec.calls:
        info = rec.modules.get(call.name)
        time = corrected[call.index] if corrected else None
        made.append(
            CallCost(
                index=call.index,
                flops=sums.flops[call.index] if rec.has_functions else None,
                backward_flops=sums.backward[call.index] if ran else None,
                input_bytes=_bytes(call.inputs),
                output_bytes=_bytes(call.outputs),
                parameter_bytes=_bytes(info.parameters if info else ()),
                buffer_bytes=_bytes(info.buffers if info else ()),
                moved_bytes=sums.moved[call.index] if rec.has_functions else None,
                corrected_ns=time[0] if time else None,
                corrected_self_ns=time[1] if time else None,
                uncounted=tuple(
                    sorted({names[at] for at in sums.missing[call.index]})
                ),
            )
        )
    roots = [call for call in rec.calls if call.parent is None and not call.recomputed]
    missing = [at for at, count in enumerate(forward) if count is None]
    missing += [at for at, count in enumerate(backward) if count is None]
    return Costs(
        calls=tuple(made),
        function_flops=tuple(forward),
        function_backward_flops=tuple(backward),
        flops=_total(forward) if rec.has_functions else None,
        backward_flops=_total(backward) if ran else None,
        uncounted=tuple(sorted({names[at] for at in missing})),
        measured_ns=sum(call.duration_ns for call in roots),
        corrected_ns=sum(corrected[c.index][0] for c in roots) if corrected else None,
    )
