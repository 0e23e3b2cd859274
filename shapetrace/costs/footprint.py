"""The memory of a training step by kind and by module, and what another batch needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shapetrace.costs.repeat import size
from shapetrace.errors import UsageError
from shapetrace.records import LiveBytes, Recording, TensorRef


@dataclass(frozen=True, slots=True)
class ModuleMemory:
    """What belongs to one module itself, without the modules inside it; bytes.

    `activations` were made in its calls and were alive when the trace held most;
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
    """Bytes by kind at the moment when the trace held most, and by module.

    `backward` are gradients on their way; `call` is the index of the module call that
    ran then, None between modules.
    """

    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    activations: int
    backward: int
    call: int | None
    modules: tuple[ModuleMemory, ...]

    @property
    def total(self) -> int:
        changing = self.gradients + self.optimizer + self.activations + self.backward
        return self.parameters + self.buffers + changing

    def __str__(self) -> str:
        kinds = ("parameters", "buffers", "gradients", "optimizer", "activations")
        lines = [f"most held: {_bytes(self.total)}"]
        for kind in (*kinds, "backward"):
            lines.append(f"  {kind:12}{_bytes(getattr(self, kind)):>10}")
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
            f"a batch of {self.batch_size} needs about {_bytes(self.bytes)} "
            f"({_bytes(self.low)} to {_bytes(self.high)}; drawn from {drawn})"
        )


def memory(rec: Recording) -> Memory:
    """What a recording held. Raises `UsageError` where memory was not recorded."""
    _check(rec, "memory")
    parameters, buffers = _whole(rec)
    most = max(rec.live, key=lambda one: one.total)
    return Memory(
        parameters=parameters,
        buffers=buffers,
        gradients=most.gradients,
        optimizer=most.optimizer,
        activations=most.activations,
        backward=most.backward,
        call=most.call,
        modules=tuple(_modules(rec)),
    )


def memory_for(batch_size: int, recordings: Sequence[Recording]) -> MemoryEstimate:
    """What a batch of another size needs, from the outermost calls of recordings.

    From batches of one size alone it cannot be told which activations grow with it:
    all of them, at most; those that the backward makes, perhaps. From two sizes it is
    a line through both.
    """
    points: dict[int, list[tuple[int, int, int]]] = {}
    for rec in recordings:
        _check(rec, "memory_for")
        for size_, point in _peaks(rec):
            points.setdefault(size_, []).append(point)
    if not points:
        raise UsageError(
            "memory_for() found no batch: no module was given a tensor whose first "
            "dimension could be its size."
        )
    sizes = sorted(points)
    most = {size_: max(of, key=sum) for size_, of in points.items()}
    if len(sizes) == 1:
        fixed, growing, backward = most[sizes[0]]
        factor = batch_size / sizes[0]
        bounds = [fixed + growing * factor + backward, sum(most[sizes[0]])]
        bounds[1] = round(fixed + (growing + backward) * factor)
        low, high = sorted(map(round, bounds))
        likely = high
    else:
        small, large = sizes[0], sizes[-1]
        slope = (sum(most[large]) - sum(most[small])) / (large - small)
        likely = round(sum(most[small]) + slope * (batch_size - small))
        off = max(
            abs(sum(most[one]) - sum(most[small]) - slope * (one - small))
            for one in sizes
        )
        off = off + 0.02 * abs(likely)
        low, high = round(likely - off), round(likely + off)
    return MemoryEstimate(batch_size, low, likely, high, tuple(sizes))


def _peaks(rec: Recording) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Of each turn of the outermost modules, which begins with a call of the first of
    them: the size of its batch, and what was held at most: what stays, activations,
    and gradients on their way. An optimizer's state is there from its first step on,
    and so in every step but the first."""
    state = sum(rec.optimizer_state.values())
    stays = sum(_whole(rec))
    tops = [call for call in rec.calls if call.parent is None and not call.recomputed]
    turns = [call for call in tops if call.name == tops[0].name]
    ends = [call.start_ns for call in turns[1:]] + [None]
    for call, end in zip(turns, ends, strict=True):
        batched = [ref for ref in call.inputs if ref.shape]
        if not batched:
            continue
        held = [
            one
            for one in rec.live
            if one.time_ns >= call.start_ns and (end is None or one.time_ns < end)
        ]
        if not held:
            continue

        def parts(one: LiveBytes, given: int = size(batched)) -> tuple[int, int, int]:
            fixed = stays + one.gradients + max(state, one.optimizer)
            return fixed, one.activations + given, one.backward

        yield batched[0].shape[0], max(map(parts, held), key=sum)


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


def _check(rec: Recording, asked: str) -> None:
    if not rec.live:
        raise UsageError(
            f"{asked}() needs the bytes that were held: record them with "
            "trace(model, memory=True)."
        )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
