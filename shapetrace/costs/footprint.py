"""The memory of a training step by kind and by module, and what another batch needs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from shapetrace.costs.account import Costs
from shapetrace.costs.batch_size import given, told
from shapetrace.costs.repeat import size
from shapetrace.costs.statistics import batches
from shapetrace.errors import UsageError
from shapetrace.recording.extensions.convolutions import is_convolution, working
from shapetrace.records import (
    FunctionCall,
    LiveBytes,
    ModuleCall,
    Recording,
    TensorRef,
)
from shapetrace.records.printable import in_bytes

#: by which part an estimate is never more certain, and by which part more a batch may
#: need: what kernels work with is not seen. Of twelve nets at five sizes, half needed
#: nothing more than was told, the others 7 to 14 % (a tiny LSTM 23 %)
_OFF, _KERNELS = 0.02, 0.15


@dataclass(frozen=True, slots=True)
class ModuleMemory:
    """What belongs to one module itself, without the modules inside it; bytes.

    `activations` were made in its calls and alive when forward and backward held most;
    `saved` is what autograd saved of its calls and of all inside them (None: unknown).
    """

    name: str
    type: str
    parameters: int = 0
    buffers: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    saved: int | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by kind at the moment when a step holds most, and by module.

    An optimizer's state counts as in every step but the first, which makes it; where a
    step of it holds most, with what it works with besides.

    `backward` are gradients on their way; `call` is the index of the module call that
    ran then, None between modules. `other` is what an accelerator's allocator held
    besides: libraries work with some, and the process may have more there.
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    activations: int
    backward: int
    call: int | None
    modules: tuple[ModuleMemory, ...]
    other: int = 0

    @property
    def total(self) -> int:
        changing = self.gradients + self.optimizer + self.activations + self.backward
        return self.parameters + self.buffers + changing + self.other

    def __str__(self) -> str:
        kinds = ("parameters", "buffers", "gradients", "optimizer", "activations")
        lines = [f"most held: {in_bytes(self.total)}"]
        for kind in (*kinds, "backward", *(["other"] if self.other else [])):
            lines.append(f"  {kind:12}{in_bytes(getattr(self, kind)):>10}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """What a step with a batch of `batch_size` will hold at most: likely `bytes`, with
    most certainty between `low` and `high`. `sizes` are the batches it is drawn from.
    """

    batch_size: int
    low: int
    bytes: int
    high: int
    sizes: tuple[int, ...]

    def fits(self, memory: float) -> bool | None:
        """Whether it fits in so many bytes; None where that cannot be told."""
        if self.high <= memory:
            return True
        return False if self.low > memory else None

    def __str__(self) -> str:
        drawn = " and ".join(map(str, self.sizes))
        return (
            f"a batch of {self.batch_size} needs about {in_bytes(self.bytes)} "
            f"({in_bytes(self.low)} to {in_bytes(self.high)}; drawn from {drawn})"
        )


def memory(rec: Recording, known: Costs) -> Memory:
    """What a recording held. Raises `UsageError` where memory was not recorded."""
    _check(rec, "memory")
    parameters, buffers = _whole(rec)
    state = state_of(rec)
    most = max(
        held(rec, known), key=lambda one: one.total + max(0, state - one.optimizer)
    )
    return Memory(
        parameters=parameters,
        buffers=buffers,
        gradients=most.gradients,
        optimizer=max(most.optimizer, state),
        activations=most.activations,
        backward=most.backward,
        call=most.call,
        modules=tuple(_modules(rec)),
        other=rec.allocated_other,
    )


def memory_for(
    batch_size: int, recordings: Sequence[tuple[Recording, Costs]]
) -> MemoryEstimate:
    """What a batch of another size needs, from the batches of recordings.

    Each moment of the largest batch is stretched: activations grow with the batch,
    parameters and what belongs to them do not. Gradients on their way may be of either
    kind, which is the uncertainty of one size alone; where there are batches of
    several sizes it is by how much the others differ from what is drawn for them.
    What the kernels of torch work with may come on top.
    """
    turns: list[tuple[int, list[Moment]]] = []
    copies: dict[int, int] = {}
    found = []
    for rec, known in recordings:
        _check(rec, "memory_for")
        found += list(_turns(rec, known))
    inputs = given([one.inputs for one in found])
    for one, first in zip(found, inputs, strict=True):
        size_ = one.size or first
        if size_:
            turns.append((size_, one.moments))
            copies[size_] = max(copies.get(size_, 0), one.copies)
    if not turns:
        raise UsageError(
            "memory_for() found no batch: no module was given a tensor whose first "
            "dimension could be its size."
        )
    largest = max(size_ for size_, _ in turns)
    base = [
        moment for size_, moments in turns if size_ == largest for moment in moments
    ]
    sizes = tuple(sorted({size_ for size_, _ in turns}))
    likely = _stretched(base, batch_size / largest, batch_size / largest)
    low = high = likely
    if len(sizes) == 1:
        low, high = sorted((_stretched(base, batch_size / largest, 1.0), likely))
    for size_ in sizes[:-1]:
        # of several turns the one that holds most, as the last of an accumulation
        true = max(_stretched(found, 1.0, 1.0) for one, found in turns if one == size_)
        factor = size_ / largest
        off = abs(_stretched(base, factor, factor) - true) / true
        off *= abs(batch_size - largest) / (largest - size_)
        low, high = min(low, likely * (1 - off)), max(high, likely * (1 + off))
    working = copies[largest] * batch_size / largest + likely * _OFF
    low, high = min(low, likely * (1 - _OFF)), high + max(likely * _KERNELS, working)
    low = max(low, min(always for always, _, _ in base))
    return MemoryEstimate(batch_size, round(low), round(likely), round(high), sizes)


def _copies(rec: Recording) -> int:
    """What the convolution of the largest tensors may work with."""
    most = 0
    for call in rec.functions:
        if is_convolution(call.name) and call.inputs[1:] and call.outputs:
            given, weight, result = call.inputs[0], call.inputs[1], call.outputs[0]
            shapes = given.shape, weight.shape, result.shape
            size_ = result.dtype.itemsize
            most = max(most, *working(call.name, *shapes, size_, True))
    return most


#: what stays whatever the batch is, activations, and gradients on their way
Moment = tuple[int, int, int]


def _stretched(moments: Sequence[Moment], growing: float, backward: float) -> float:
    return max(a + b * growing + c * backward for a, b, c in moments)


def held(rec: Recording, known: Costs) -> list[LiveBytes]:
    """What was held over time, and in the midst of functions and of nodes of a backward
    that make for a while what nobody gets."""
    times = [one.time_ns for one in rec.live]
    found = []
    for one in rec.live:
        if one.function is not None:
            works = known.function_node_bytes[one.function].get(one.node, 0)
            one = replace(one, backward=one.backward + works)
        found.append(one)
    for function, most in zip(rec.functions, known.function_most_bytes, strict=True):
        if most:
            before = bisect_right(times, function.start_ns)
            last = rec.live[before - 1] if before else LiveBytes(0, 0)
            found.append(
                replace(
                    last,
                    time_ns=function.start_ns,
                    activations=last.activations + most,
                    call=function.parent,
                )
            )
    return sorted(found, key=lambda one: one.time_ns)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A batch: its size as layers and losses tell it, what was given to the model, and
    what was held while it ran; what convolutions may work with."""

    size: int | None
    inputs: tuple[TensorRef, ...]
    moments: list[Moment]
    copies: int


def _turns(rec: Recording, known: Costs) -> Iterator[_Turn]:
    """The batches. An optimizer's state is there from its first step on, and so in
    every step but the first."""
    state = state_of(rec)
    stays = sum(_whole(rec)) + rec.allocated_other
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    turns: dict[int, list[ModuleCall]] = {}
    number = batches(rec)
    for call in tops:
        if call.name == tops[0].name:
            turns.setdefault(number[call.index], []).append(call)
    moments = held(rec, known)
    times = [one.time_ns for one in moments]
    makers = {ref.id: call for call in rec.functions for ref in call.outputs or ()}
    starts = [bisect_left(times, calls[0].start_ns) for calls in turns.values()]
    ends = [*starts[1:], len(times)]
    copies = _copies(rec)
    sizes = told(rec, list(turns.values()))
    for size_, calls, start, end in zip(
        sizes, turns.values(), starts, ends, strict=True
    ):
        batched = tuple(ref for call in calls for ref in call.inputs if ref.shape)
        if batched and start < end:
            outside = [one for one in batched if not _is_made(one, makers, known)]
            held_then = [
                (
                    stays + one.gradients + max(state, one.optimizer),
                    one.activations + size(tuple(outside)),
                    one.backward,
                )
                for one in moments[start:end]
            ]
            yield _Turn(size_, batched, held_then, copies)


def _is_made(ref: TensorRef, makers: dict[int, FunctionCall], known: Costs) -> bool:
    """Whether a function in the block made it, so that it is among what was held; a
    view of what came from outside, or that itself, was not."""
    seen = set()
    while ref.id in makers and ref.id not in seen:
        seen.add(ref.id)
        call = makers[ref.id]
        in_place = call.qualname.endswith("_") or call.name == "setitem"
        if not call.inputs or known.function_moved_bytes[call.index] and not in_place:
            return True
        ref = call.inputs[0]
    return False


def _modules(rec: Recording) -> Iterator[ModuleMemory]:
    activations: dict[str, int] = {}
    saved: dict[str, int | None] = {}
    for call in rec.calls:
        bytes_ = call.peak_bytes or 0
        activations[call.name] = activations.get(call.name, 0) + bytes_
        if call.parent is not None:
            above = rec.calls[call.parent].name
            activations[above] = activations.get(above, 0) - bytes_
        before = saved.get(call.name, 0)
        known = before is not None and call.saved_bytes is not None
        saved[call.name] = (before or 0) + (call.saved_bytes or 0) if known else None
    for name, info in rec.modules.items():
        prefix = f"{name}." if name else ""
        own = [prefix + ref.path for ref in info.parameters]
        yield ModuleMemory(
            name=name,
            type=info.type,
            parameters=size(info.parameters),
            buffers=size(info.buffers),
            gradients=sum(rec.gradients.get(one, 0) for one in own),
            optimizer=sum(rec.optimizer_state.get(one, 0) for one in own),
            activations=activations.get(name, 0),
            saved=saved.get(name),
        )


def _whole(rec: Recording) -> tuple[int, int]:
    """Bytes of all parameters and of all buffers, each once."""
    parameters: dict[int, TensorRef] = {}
    buffers: dict[int, TensorRef] = {}
    for info in rec.modules.values():
        parameters.update((ref.id, ref) for ref in info.parameters)
        buffers.update((ref.id, ref) for ref in info.buffers)
    return size(tuple(parameters.values())), size(tuple(buffers.values()))


def state_of(rec: Recording) -> int:
    """Bytes of the optimizer's state, of a parameter that two modules share once."""
    found: dict[int, int] = {}
    for name, info in rec.modules.items():
        for ref in info.parameters:
            path = f"{name}.{ref.path}" if name else ref.path
            found[ref.id] = rec.optimizer_state.get(path, found.get(ref.id, 0))
    return sum(found.values())


def _check(rec: Recording, asked: str) -> None:
    if not rec.live:
        raise UsageError(
            f"{asked}() needs the bytes that were held: record them with "
            "trace(model, memory=True) and call the model in the block; of what runs "
            "under torch.vmap none are seen."
        )
