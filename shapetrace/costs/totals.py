"""Figures by type of module and by block that repeats, each time counted once.

Own times add up to the whole; what contains another of its own kind counts the outer
one alone in times and bytes that hold what is inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from shapetrace.costs.account import Costs
from shapetrace.costs.statistics import batches, most_held
from shapetrace.records import ModuleCall, Recording

#: the numbers of modules in a `ModuleList` or `Sequential`
_NUMBER = re.compile(r"(^|\.)\d+(?=\.|$)")


@dataclass(slots=True)
class Total:
    """What the calls of one type or one block cost together; nanoseconds, bytes.

    `self_ns` and `total_ns` are corrected where the tracer's cost is settled. Of
    several batches `saved_bytes` is that of the one that saved most. None: not
    recorded, or unknown.
    """

    name: str
    type: str
    modules: int
    calls: int
    total_ns: int
    self_ns: int
    backward_ns: int | None
    saved_bytes: int | None
    parameter_bytes: int
    moved_bytes: int | None
    flops: int | None
    backward_flops: int | None


def by_type(rec: Recording, costs: Costs) -> list[Total]:
    """One for each type of module, most own time first."""
    return _totals(rec, costs, lambda call: (call.type, call.type))


def by_block(rec: Recording, costs: Costs) -> list[Total]:
    """One for all blocks of a kind, `layers.*`, and one for each module outside of
    blocks, most own time first. A block is one of several modules of one type, with
    modules in them, that a `ModuleList` or `Sequential` numbers."""
    parents = {name.rpartition(".")[0] for name in rec.modules if name}
    alike: dict[tuple[str, str], set[str]] = {}
    for name, info in rec.modules.items():
        head, _, last = name.rpartition(".")
        if last.isdigit() and name in parents:
            alike.setdefault((_NUMBER.sub(r"\1*", head), info.type), set()).add(name)
    block: dict[str, tuple[str, str]] = {}
    for (head, type_), names in alike.items():
        if len(names) > 1:
            pattern = f"{head}.*" if head else "*"
            block.update((name, (pattern, type_)) for name in names)

    def key(call: ModuleCall) -> tuple[str, str]:
        parts = call.name.split(".") if block else []
        for depth in range(1, len(parts) + 1):
            found = block.get(".".join(parts[:depth]))
            if found is not None:
                return found
        return call.name, call.type

    return _totals(rec, costs, key)


def _totals(
    rec: Recording, costs: Costs, key: Callable[[ModuleCall], tuple[str, str]]
) -> list[Total]:
    keys = [key(call) for call in rec.calls]
    turn = batches(rec)
    groups: dict[tuple[str, str], list[ModuleCall]] = {}
    outer: dict[tuple[str, str], list[ModuleCall]] = {}
    around: list[frozenset[tuple[str, str]]] = []
    for call, one in zip(rec.calls, keys, strict=True):
        above = frozenset() if call.parent is None else around[call.parent]
        around.append(above if one in above else above | {one})
        if call.recomputed:
            continue  # it is in the time of the backward that ran it again
        groups.setdefault(one, []).append(call)
        if one not in above:
            outer.setdefault(one, []).append(call)
    found = []
    for (name, type_), calls in groups.items():
        tops = outer[name, type_]
        spent = [costs.calls[call.index] for call in tops]
        largest = {call.name: costs.calls[call.index].parameter_bytes for call in tops}
        found.append(
            Total(
                name=name,
                type=type_,
                modules=len(largest),
                calls=len(tops),
                total_ns=sum(_whole(call, costs) for call in tops),
                self_ns=sum(_own(call, costs) for call in calls),
                backward_ns=_sum([call.backward_ns for call in tops]),
                saved_bytes=most_held("saved_bytes", tops, turn),
                parameter_bytes=sum(largest.values()),
                moved_bytes=_sum([cost.moved_bytes for cost in spent]),
                flops=_sum([cost.flops for cost in spent]),
                backward_flops=_sum([cost.backward_flops for cost in spent]),
            )
        )
    return sorted(found, key=lambda one: -one.self_ns)


def _own(call: ModuleCall, costs: Costs) -> int:
    corrected = costs.calls[call.index].corrected_self_ns
    return corrected if costs.settled and corrected is not None else call.self_ns


def _whole(call: ModuleCall, costs: Costs) -> int:
    corrected = costs.calls[call.index].corrected_ns
    return corrected if costs.settled and corrected is not None else call.duration_ns


def _sum(values: list[int | None]) -> int | None:
    return None if None in values else sum(one or 0 for one in values)
