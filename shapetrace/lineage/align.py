"""Two recordings side by side: which calls of theirs are the same call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Generic, TypeVar

from shapetrace.records import FunctionCall, ModuleCall, Recording

C = TypeVar("C", FunctionCall, ModuleCall)

#: longer runs than this, which do not begin alike, are aligned by name and occurrence:
#: difflib's time grows with the square
_LONG = 2000


@dataclass(frozen=True, slots=True)
class Aligned(Generic[C]):
    """One call in both traces; None where the other has no such call."""

    a: C | None
    b: C | None

    @property
    def call(self) -> C:
        call = self.b or self.a
        assert call is not None
        return call


def align_modules(a: Recording, b: Recording) -> list[Aligned[ModuleCall]]:
    """By name and occurrence."""
    keys_a = list(_occurrences([(c.name, c.recomputed) for c in a.calls]))
    keys_b = list(_occurrences([(c.name, c.recomputed) for c in b.calls]))
    return _merge(dict(zip(keys_a, a.calls)), dict(zip(keys_b, b.calls)))


def _occurrences(names: Sequence[Hashable]) -> Iterator[tuple[Hashable, int]]:
    counts: Counter[Hashable] = Counter()
    for name in names:
        yield name, counts[name]
        counts[name] += 1


def _merge(a: dict[Any, C], b: dict[Any, C]) -> list[Aligned[C]]:
    """The second's order; what only the first has stands behind what it followed."""
    behind: dict[Any, list[C]] = defaultdict(list)
    last: Any = None
    for key, call in a.items():
        if key in b:
            last = key
        else:
            behind[last].append(call)
    merged = [Aligned(call, None) for call in behind[None]]
    for key, call in b.items():
        merged.append(Aligned(a.get(key), call))
        merged += [Aligned(left, None) for left in behind.get(key, ())]
    return merged


def align_functions(
    a: Recording, b: Recording, calls: list[Aligned[ModuleCall]]
) -> list[Aligned[FunctionCall]]:
    """Within aligned module calls, and outside of all, by order."""
    inside_a, inside_b = _by_parent(a), _by_parent(b)
    parents: list[tuple[int | None, int | None]] = [(None, None)]
    parents += [(p.a.index, p.b.index) for p in calls if p.a and p.b]
    twin: dict[int, int] = {}
    for left, right in parents:
        for one, same in _sequence(inside_a.get(left, []), inside_b.get(right, [])):
            twin[one.index] = same.index
    known_a: dict[Any, FunctionCall] = {}
    for call in a.functions:
        other = twin.get(call.index)
        known_a[("a", call.index) if other is None else ("b", other)] = call
    known_b: dict[Any, FunctionCall] = {("b", call.index): call for call in b.functions}
    return _merge(known_a, known_b)


def _by_parent(rec: Recording) -> dict[int | None, list[FunctionCall]]:
    inside: dict[int | None, list[FunctionCall]] = defaultdict(list)
    for call in rec.functions:
        inside[call.parent].append(call)
    return inside


def _sequence(
    a: list[FunctionCall], b: list[FunctionCall]
) -> Iterator[tuple[FunctionCall, FunctionCall]]:
    start = 0
    while start < min(len(a), len(b)) and a[start].name == b[start].name:
        yield a[start], b[start]
        start += 1
    a, b = a[start:], b[start:]
    if len(a) * len(b) > _LONG * _LONG:
        known = dict(zip(_occurrences([call.name for call in a]), a))
        for key, call in zip(_occurrences([call.name for call in b]), b):
            if key in known:
                yield known[key], call
        return
    names = [call.name for call in a], [call.name for call in b]
    for block in SequenceMatcher(None, *names, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            yield a[block.a + offset], b[block.b + offset]
