"""The account of a trace: one `CallCost` for each module call."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shapetrace.costs.flops import FlopCounter
from shapetrace.costs.gradients import Need, backwards, tracked
from shapetrace.recording.overhead import CACHE_BYTES
from shapetrace.records import FunctionCall, ModuleCall, Recording, TensorRef

Shapes = tuple[tuple[int, ...], ...]

#: they hand out the same memory in another shape
_VIEWS = {
    *("view", "view_as", "reshape", "flatten", "unflatten", "transpose", "permute"),
    *("t", "T", "mT", "squeeze", "unsqueeze", "expand", "expand_as", "chunk", "split"),
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
    #: what rates are worked out with: the accelerator's time where there is one, else
    #: the corrected one, else the recorded one; 0 when not timed
    time_ns: int = 0
    #: the functions inside whose FLOPs could not be counted
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
    forward, backward, short, ran = _counts(rec)
    sums = _Sums(rec, forward, backward, short)
    corrected = _corrected(rec)
    seen = rec.has_functions
    made: list[CallCost] = []
    for call in rec.calls:
        info, at = rec.modules.get(call.name), call.index
        made.append(
            CallCost(
                index=at,
                flops=sums.flops[at] if seen else None,
                backward_flops=sums.backward[at] if ran else None,
                input_bytes=_bytes(call.inputs),
                output_bytes=_bytes(call.outputs),
                parameter_bytes=_bytes(info.parameters if info else ()),
                buffer_bytes=_bytes(info.buffers if info else ()),
                moved_bytes=sums.moved[at] if seen else None,
                corrected_ns=corrected[at][0] if corrected else None,
                corrected_self_ns=corrected[at][1] if corrected else None,
                time_ns=call.device_ns
                or (corrected[at][0] if corrected else call.duration_ns),
                uncounted=tuple(sorted(sums.missing[at])),
            )
        )
    tops = [call.index for call in rec.calls if call.parent is None]
    again = [at for at in tops if rec.calls[at].recomputed]
    missing = {rec.functions[at].name for at in short}
    for at in again:
        missing |= sums.missing[at]
    measured = [at for at in tops if at not in again]
    return Costs(
        calls=tuple(made),
        function_flops=tuple(forward),
        function_backward_flops=tuple(backward),
        flops=_sum(forward) + sum(sums.flops[at] for at in again) if seen else None,
        backward_flops=_sum(backward) if ran else None,
        uncounted=tuple(sorted(missing)),
        measured_ns=sum(rec.calls[at].duration_ns for at in measured),
        corrected_ns=sum(corrected[at][0] for at in measured) if corrected else None,
    )


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count or 0 for count in counts)


def _counts(
    rec: Recording,
) -> tuple[list[int | None], list[int | None], set[int], bool]:
    """FLOPs of each function, forward and backward; the functions of which some are
    not counted; whether a backward was seen."""
    ran: dict[int, list[Need]] = {}
    for needs in backwards(rec):
        for index, one in needs.items():
            ran.setdefault(index, []).append(one)
    forward: list[int | None] = []
    backward: list[int | None] = []
    short: set[int] = set()
    flowing = tracked(rec)
    with FlopCounter() as counter:
        for call in rec.functions:
            counts = [counter.forward(call, flowing)]
            counts += [counter.backward(call, need) for need in ran.get(call.index, ())]
            forward.append(counts[0].flops)
            known = [count.flops for count in counts[1:]]
            backward.append(None if None in known else _sum(known))
            if not all(count.whole for count in counts):
                short.add(call.index)
    return forward, backward, short, bool(ran)


class _Sums:
    """Of each module call: what the functions in it, and in the calls in it, cost."""

    def __init__(
        self,
        rec: Recording,
        forward: Sequence[int | None],
        backward: Sequence[int | None],
        short: Collection[int],
    ) -> None:
        count = len(rec.calls)
        self.flops = [0] * count
        self.backward = [0] * count
        self.moved = [0] * count
        self.missing: list[set[str]] = [set() for _ in rec.calls]
        for function in rec.functions:
            at, parent = function.index, function.parent
            if parent is None:
                continue
            self.flops[parent] += forward[at] or 0
            self.backward[parent] += backward[at] or 0
            if function.name not in _VIEWS:
                self.moved[parent] += _bytes(function.inputs) + _bytes(function.outputs)
            if at in short:
                self.missing[parent].add(function.name)
        for call in reversed(rec.calls):  # what is inside a call comes after it
            at, parent = call.index, call.parent
            info = rec.modules.get(call.name)
            if info is not None and info.qualname.startswith("torch.jit."):
                self.missing[at].add(info.type)
            if parent is not None and not call.recomputed:
                self._add(at, parent)
        self._recomputed(rec)

    def _recomputed(self, rec: Recording) -> None:
        """Checkpointing runs forwards again inside a backward, where no function is
        seen: a call that came to its end costs what the same call did before."""
        firsts: dict[tuple[str, Shapes], int] = {}
        for call in rec.calls:
            if not call.recomputed and call.outputs is not None:
                firsts.setdefault((call.name, _shapes(call)), call.index)
        inside: dict[int, list[int]] = {}
        for call in rec.calls:
            if call.recomputed and call.parent is not None:
                inside.setdefault(call.parent, []).append(call.index)
        for call in reversed(rec.calls):
            if not call.recomputed:
                continue
            twin = firsts.get((call.name, _shapes(call)))
            if twin is not None and call.outputs is not None:
                self.flops[call.index] = self.flops[twin]
                self.moved[call.index] = self.moved[twin]
                self.missing[call.index] = set(self.missing[twin])
                if self.flops[twin] and not self.backward[twin]:
                    # reentrant: the backward ran through what nobody saw
                    self.missing[call.index].add("backward of a recomputation")
                continue
            for child in inside.get(call.index, ()):
                self._add(child, call.index)
            self.missing[call.index].add("recomputation")

    def _add(self, at: int, parent: int) -> None:
        self.flops[parent] += self.flops[at]
        self.backward[parent] += self.backward[at]
        self.moved[parent] += self.moved[at]
        self.missing[parent] |= self.missing[at]


def _corrected(rec: Recording) -> list[tuple[int, int]]:
    """Duration and own time of each call without the tracer's own cost."""
    cost = rec.overhead
    if cost is None or not rec.has_timing:
        return []
    whole = [cost.module_inside] * len(rec.calls)
    own = [cost.module_inside] * len(rec.calls)
    cold = [False] * len(rec.calls)
    for function in rec.functions:
        if function.parent is not None:
            spent = cost.function
            if _floods(function):
                cold[function.parent] = True
                spent += cost.function_cold
            whole[function.parent] += spent
            own[function.parent] += spent
    found: list[tuple[int, int]] = []
    for call in reversed(rec.calls):
        at = call.index
        found.append(
            (
                max(0, round(call.duration_ns - whole[at])),
                max(0, round(call.self_ns - own[at])),
            )
        )
        if call.parent is not None:
            outside = cost.module - cost.module_inside
            if cold[at]:
                outside += cost.module_cold
                cold[call.parent] = True
            whole[call.parent] += whole[at] + outside
            own[call.parent] += outside
    return found[::-1]


def _floods(function: FunctionCall) -> bool:
    """Whether its kernel empties the cache: what follows then waits for memory."""
    if function.name in _VIEWS:
        return False
    return _bytes((*function.inputs, *(function.outputs or ()))) >= CACHE_BYTES


def _shapes(call: ModuleCall) -> Shapes:
    return tuple(ref.shape for ref in call.inputs)


def _bytes(tensors: Iterable[TensorRef] | None) -> int:
    """Each tensor once, however often it is named."""
    sizes = {ref.id: math.prod(ref.shape) * ref.dtype.itemsize for ref in tensors or ()}
    return sum(sizes.values())
