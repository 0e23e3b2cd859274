"""How much: times, bytes, costs and parameters of the calls of a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shapetrace.records import ModuleInfo
from shapetrace.views.columns.column import Context, Group, Values
from shapetrace.views.parameters import ParameterCounter, elements

#: in place of a count that an earlier row has given already
ABOVE = "(above)"


def total(values: Iterable[Any]) -> Any:
    """The sum; None where one is unknown."""
    found = list(values)
    return None if None in found else sum(found)


def held(name: str) -> Values:
    """Bytes of several calls: of the batch that holds most."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        from shapetrace.costs.statistics import most_held

        turn = context.turn
        return [most_held(name, group.calls, turn) for group in groups]

    return values


def milliseconds(name: str) -> Values:
    """The sum of a time over the calls of a row."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        sums = [
            (
                getattr(group.calls[0], name)
                if len(group.calls) == 1
                else total(getattr(call, name) for call in group.calls)
            )
            for group in groups
        ]
        return [None if one is None else one / 1e6 for one in sums]

    return values


def mean(groups: Sequence[Group], context: Context) -> list[Any]:
    sums = milliseconds("duration_ns")(groups, context)
    return [one / len(group.calls) for one, group in zip(sums, groups, strict=True)]


def share(groups: Sequence[Group], context: Context) -> list[Any]:
    base = context.base_ns
    return [
        sum(call.duration_ns for call in group.calls) / base if base else 0.0
        for group in groups
    ]


def own_ns(groups: Sequence[Group], context: Context) -> list[int]:
    """Own time, without the tracer's own cost where that is known."""
    known = _corrected("corrected_self_ns", None, groups, context)
    return [
        sum(call.self_ns for call in group.calls) if one is None else one
        for group, one in zip(groups, known, strict=True)
    ]


def own_ms(groups: Sequence[Group], context: Context) -> list[Any]:
    return [one / 1e6 for one in own_ns(groups, context)]


def own_device_share(groups: Sequence[Group], context: Context) -> list[Any]:
    whole, times = context.own_device_ns, cost("own_device_ns")(groups, context)
    return [one / whole if one is not None and whole else None for one in times]


def net_ms(groups: Sequence[Group], context: Context) -> list[Any]:
    """As `own_ms`, with what the calls themselves called."""
    measured = milliseconds("duration_ns")(groups, context)
    known = _corrected("corrected_ns", 1e6, groups, context)
    return [a if b is None else b for a, b in zip(measured, known, strict=True)]


def _corrected(
    name: str, scale: float | None, groups: Sequence[Group], context: Context
) -> list[Any]:
    """Times without the tracer's own cost; None while it has not settled."""
    if not context.costs.settled:
        return [None] * len(groups)
    return cost(name, scale)(groups, context)


def own_share(groups: Sequence[Group], context: Context) -> list[Any]:
    whole = context.own_ns
    return [one / whole if whole else None for one in own_ns(groups, context)]


def spread(part: str, *, net: bool = False) -> Values:
    """One of the times over which the calls of a module spread, in milliseconds; `net`:
    without the tracer's own cost where that has settled."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        of = context.net_spread if net else context.spread
        known = [of.get(group.calls[0].name) for group in groups]
        times = [getattr(one, f"{part}_ns", None) for one in known]
        return [None if time is None else time / 1e6 for time in times]

    return values


def cost(name: str, scale: float | None = None) -> Values:
    """The sum of a `CallCost`'s attribute."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        of = context.costs.calls
        sums = [
            total(getattr(of[call.index], name) for call in group.calls)
            for group in groups
        ]
        if scale is None:
            return sums
        return [None if one is None else one / scale for one in sums]

    return values


def first_cost(name: str) -> Values:
    """What all calls of a module have in common, such as its parameters' bytes."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        of = context.costs.calls
        return [getattr(of[group.calls[0].index], name) for group in groups]

    return values


def uncounted(groups: Sequence[Group], context: Context) -> list[Any]:
    """The functions inside whose FLOPs could not be counted."""
    of = context.costs.calls
    names = [
        sorted({name for call in group.calls for name in of[call.index].uncounted})
        for group in groups
    ]
    return [", ".join(one) or None for one in names]


def ratio(above: str, below: str, scale: float = 1.0) -> Values:
    """What one cost is per unit of another."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        pairs = zip(cost(above)(groups, context), cost(below)(groups, context))
        return [None if a is None or not b else a / b * scale for a, b in pairs]

    return values


def function_cost(own: str, name: str) -> Values:
    """A cost of a module call, or that of a function: rows of both stand together."""
    of_modules = cost(name)

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        of = getattr(context.costs, own)
        modules = [group for group in groups if group.kind != "function"]
        found = iter(of_modules(modules, context))
        return [
            of[group.calls[0].index] if group.kind == "function" else next(found)
            for group in groups
        ]

    return values


def _own_parameters(info: ModuleInfo) -> int:
    return sum(elements(parameter) for parameter in info.parameters)


def own_parameters(groups: Sequence[Group], context: Context) -> list[Any]:
    """Those of the modules themselves, without what is below them."""
    own = {name: _own_parameters(info) for name, info in context.rec.modules.items()}
    return [
        (
            own.get(group.calls[0].name)
            if len(group.calls) == 1
            else total(own.get(name) for name in group.names)
        )
        for group in groups
    ]


def parameters(groups: Sequence[Group], context: Context) -> list[Any]:
    """Of the modules and all below them; each is counted in one row."""
    counter = ParameterCounter(context.rec)
    counts = [counter.count(group.names) for group in groups]
    return [ABOVE if again else count for count, again in counts]


def parameters_share(groups: Sequence[Group], context: Context) -> list[Any]:
    whole = ParameterCounter(context.rec).all
    return [
        count / whole if whole and isinstance(count, int) else None
        for count in parameters(groups, context)
    ]


def trainable(groups: Sequence[Group], context: Context) -> list[Any]:
    """Whether gradients reach the parameters of the modules and of all below them."""
    counter = ParameterCounter(context.rec)
    found: list[Any] = []
    for group in groups:
        flags = counter.trainable(group.names)
        said = "partial" if len(flags) > 1 else "yes" if True in flags else "no"
        found.append(said if flags else None)
    return found
