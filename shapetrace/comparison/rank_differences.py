"""Where the ranks of one distributed batch differ.

Ranks that take part in one collective must make the same calls in the same order. A
rank that does not is why the others wait; a rank with other shapes is why they wait
longer. What most ranks do is what the others are held against.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from shapetrace.records import ModuleCall, Recording, Source, TensorRef
from shapetrace.records.printable import printable
from shapetrace.source.spoken import spoken_alike
from shapetrace.views.words import plural

What = Literal["calls", "order", "shape", "dtype", "device"]
H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True, slots=True)
class RankDifference:
    """Where ranks differ from what most do: `usual` there, `here` on `ranks`.

    `what` is "calls" (how often the module was called), "order" (which module came
    instead), "shape", "dtype" or "device"; `path` the tensor's.
    """

    what: What
    ranks: tuple[int, ...]
    module: str
    type: str
    usual: str
    here: str
    path: str = ""
    source: Source | None = None
    #: what the script calls the module, in words
    called: str = ""

    def __str__(self) -> str:
        who = "rank" if len(self.ranks) == 1 else "ranks"
        numbers = ", ".join(map(str, self.ranks))
        at = f" at {self.source}" if self.source else ""
        where = f"`{self.called or self.module or self.type}`{at}"
        what = {"calls": "", "order": "", "shape": f" {self.path}"}.get(
            self.what, f" {self.path} {self.what}"
        )
        said = f"{where}{what}: {self.here} instead of {self.usual}"
        return f"{who} {numbers}: {printable(said, keep='')}"


def differences(present: dict[int, Recording]) -> Iterator[RankDifference]:
    """Where ranks differ from what most do, in order of time."""
    for found in _found(present):
        yield replace(found, called=spoken_alike(present.values(), found.module))


def _found(present: dict[int, Recording]) -> Iterator[RankDifference]:
    if len(present) < 2:
        return
    by_name = {rank: _by_name(rec) for rank, rec in present.items()}
    names = _in_order(present.values())
    even = True
    for name in names:
        calls = {rank: found.get(name, []) for rank, found in by_name.items()}
        for difference in _of_counts(name, calls):
            even = False
            yield difference
        yield from _of_tensors(name, calls)
    if even:
        yield from _of_order(present)


def _by_name(rec: Recording) -> dict[str, list[ModuleCall]]:
    found: dict[str, list[ModuleCall]] = defaultdict(list)
    for call in rec.calls:
        if not call.recomputed:
            found[call.name].append(call)
    return found


def _in_order(recordings: Iterable[Recording]) -> list[str]:
    """All modules' names, in the order of their first calls."""
    names: dict[str, None] = {}
    for rec in recordings:
        for call in rec.calls:
            names.setdefault(call.name)
    return list(names)


def _usual(values: dict[int, H]) -> H:
    """What most ranks have; of two that are as common, the lower rank's."""
    counts = Counter(values.values())
    return max(counts, key=lambda value: counts[value])


def _odd(values: dict[int, H]) -> Iterator[tuple[H, tuple[int, ...]]]:
    """Each other value with its ranks."""
    usual = _usual(values)
    ranks: dict[H, list[int]] = defaultdict(list)
    for rank, value in values.items():
        if value != usual:
            ranks[value].append(rank)
    for value, those in ranks.items():
        yield value, tuple(those)


def _of_counts(
    name: str, calls: dict[int, list[ModuleCall]]
) -> Iterator[RankDifference]:
    counts = {rank: len(found) for rank, found in calls.items()}
    one = next(found[0] for found in calls.values() if found)
    for count, ranks in _odd(counts):
        usual, here = plural(_usual(counts), "call"), plural(count, "call")
        source = one.source
        yield RankDifference("calls", ranks, name, one.type, usual, here, "", source)


def _of_tensors(
    name: str, calls: dict[int, list[ModuleCall]]
) -> Iterator[RankDifference]:
    """The first tensor of the module that differs, for each rank."""
    told: set[int] = set()
    for at in range(max(map(len, calls.values()))):
        there = {rank: found[at] for rank, found in calls.items() if at < len(found)}
        if len(there) < 2:
            return
        kinds = {rank: _kinds(call) for rank, call in there.items() if rank not in told}
        usual = _usual({rank: _kinds(call) for rank, call in there.items()})
        for rank, kind in kinds.items():
            if kind == usual:
                continue
            told.add(rank)
            other = next(call for call in there.values() if _kinds(call) == usual)
            yield from _between(name, rank, other, there[rank])
        if len(told) == len(calls) - 1:
            return


def _kinds(call: ModuleCall) -> tuple[Hashable, ...]:
    return tuple(
        (ref.path, ref.shape, ref.dtype, ref.device.type)
        for ref in (*call.inputs, *(call.outputs or ()))
    )


def _between(
    name: str, rank: int, usual: ModuleCall, here: ModuleCall
) -> Iterator[RankDifference]:
    known = {ref.path: ref for ref in _refs(usual)}
    for ref in _refs(here):
        other = known.get(ref.path)
        if other is None:
            continue
        kinds: tuple[tuple[What, str, str], ...] = (
            ("shape", _shape(other), _shape(ref)),
            ("dtype", str(other.dtype), str(ref.dtype)),
            ("device", other.device.type, ref.device.type),
        )
        for what, old, new in kinds:
            if old != new:
                place = ref.path, here.source
                yield RankDifference(what, (rank,), name, here.type, old, new, *place)
                return


def _refs(call: ModuleCall) -> tuple[TensorRef, ...]:
    return (*call.inputs, *(call.outputs or ()))


def _shape(ref: TensorRef) -> str:
    return "×".join(map(str, ref.shape)) if ref.shape else "scalar"


def _of_order(present: dict[int, Recording]) -> Iterator[RankDifference]:
    """The first call that another rank made in its place."""
    orders = {
        rank: tuple(call.name for call in rec.calls if not call.recomputed)
        for rank, rec in present.items()
    }
    usual = _usual(orders)
    for order, ranks in _odd(orders):
        at = next(i for i, (a, b) in enumerate(zip(usual, order)) if a != b)
        calls = [call for call in present[ranks[0]].calls if not call.recomputed]
        here = calls[at]
        name, instead = (
            spoken_alike(present.values(), one) for one in (usual[at], here.name)
        )
        yield RankDifference(
            "order", ranks, here.name, here.type, name, instead, "", here.source
        )
