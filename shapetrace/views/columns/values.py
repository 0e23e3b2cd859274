"""How columns get the values of rows, and how one value is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shapetrace.records import ModuleInfo, TensorRef
from shapetrace.views import words
from shapetrace.views.columns.column import Context, Group, Values, Write
from shapetrace.views.parameters import ParameterCounter, elements

Shapes = tuple[tuple[int, ...], ...]
#: in place of a count that an earlier row has given already
ABOVE = "(above)"
#: more shapes than fit into that are counted where there is little room
_NARROW = 18


# -- getting -----------------------------------------------------------------------


def each(get: Callable[[Group], Any]) -> Values:
    return lambda groups, context: [get(group) for group in groups]


def first(name: str) -> Values:
    """An attribute of the call that stands for the others."""
    return lambda groups, context: [getattr(group.calls[0], name) for group in groups]


def total(values: Iterable[Any]) -> Any:
    """The sum; None where one is unknown."""
    found = list(values)
    return None if None in found else sum(found)


def summed(name: str, scale: float | None = None) -> Values:
    """The sum of an attribute over the calls of a row."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        sums = [
            (
                getattr(group.calls[0], name)
                if len(group.calls) == 1
                else total(getattr(call, name) for call in group.calls)
            )
            for group in groups
        ]
        if scale is None:
            return sums
        return [None if one is None else one / scale for one in sums]

    return values


def type_of(groups: Sequence[Group], context: Context) -> list[Any]:
    return [
        "function" if group.kind == "function" else group.calls[0].type
        for group in groups
    ]


def depth(groups: Sequence[Group], context: Context) -> list[Any]:
    return [
        (
            context.depth_of(group.calls[0])
            if group.kind == "function"
            else group.calls[0].depth
        )
        for group in groups
    ]


def module(groups: Sequence[Group], context: Context) -> list[Any]:
    """The module in whose forward the call was made."""
    names = context.names
    return [names.get(group.calls[0].parent) for group in groups]


def held(name: str) -> Values:
    """Bytes of several calls: of the batch that holds most, since what one batch holds
    is gone with the next."""

    def of(group: Group, turn: Sequence[int]) -> int | None:
        sums: dict[int, int] = {}
        for call in group.calls:
            value = getattr(call, name)
            if value is None:
                return None
            at = turn[call.index]
            sums[at] = sums.get(at, 0) + value
        return max(sums.values(), default=0)

    return lambda groups, context: [of(group, context.turn) for group in groups]


def milliseconds(name: str) -> Values:
    return summed(name, 1e6)


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
    known: list[Any] = [None] * len(groups)
    if context.costs.settled:
        known = cost("corrected_self_ns")(groups, context)
    return [
        sum(call.self_ns for call in group.calls) if one is None else one
        for group, one in zip(groups, known, strict=True)
    ]


def own_ms(groups: Sequence[Group], context: Context) -> list[Any]:
    return [one / 1e6 for one in own_ns(groups, context)]


def net_ms(groups: Sequence[Group], context: Context) -> list[Any]:
    """As `own_ms`, with what the calls themselves called."""
    measured = milliseconds("duration_ns")(groups, context)
    known: list[Any] = [None] * len(groups)
    if context.costs.settled:
        known = cost("corrected_ns", 1e6)(groups, context)
    return [a if b is None else b for a, b in zip(measured, known, strict=True)]


def own_share(groups: Sequence[Group], context: Context) -> list[Any]:
    whole = context.own_ns
    return [one / whole if whole else None for one in own_ns(groups, context)]


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
    """A cost of a module call, or that of a function."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        if groups and groups[0].kind == "function":
            of = getattr(context.costs, own)
            return [of[group.calls[0].index] for group in groups]
        return cost(name)(groups, context)

    return values


def shapes(name: str) -> Values:
    """Shapes of `inputs` or `outputs`; of calls that differ each different one."""

    def of(call: Any) -> Shapes | None:
        tensors = _ordered(getattr(call, name))
        return None if tensors is None else tuple([one.shape for one in tensors])

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        found: list[Any] = []
        for group in groups:
            if len(group.calls) == 1:
                found.append(of(group.calls[0]))
                continue
            different = list(dict.fromkeys(map(of, group.calls)))
            if len(different) > 1:
                every = (one for shapes in different for one in shapes or ())
                different = [tuple(dict.fromkeys(every))]
            found.append(different[0])
        return found

    return values


def _ordered(tensors: Sequence[TensorRef] | None) -> Sequence[TensorRef] | None:
    """Of a mapping that a model returns the logits first: what it is asked for."""
    if tensors is None or len(tensors) < 2:
        return tensors
    return sorted(tensors, key=lambda one: not one.path.endswith(_LOGITS))


_LOGITS = ("['logits']", ".logits")


def dtypes(name: str) -> Values:
    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        names: dict[Any, str] = {}

        def of(tensors: Sequence[TensorRef] | None) -> tuple[str, ...] | None:
            if tensors is None:
                return None
            for one in tensors:
                if one.dtype not in names:
                    names[one.dtype] = words.dtype(one.dtype)
            return tuple([names[one.dtype] for one in tensors])

        return [of(_ordered(getattr(group.calls[0], name))) for group in groups]

    return values


def change(written: Callable[..., str]) -> Values:
    """`f32`, or `i64→f32` where the call changes it."""
    return each(lambda group: written(group.first.inputs, group.first.outputs) or None)


def devices(group: Group) -> str | None:
    """Every device that the call's tensors are on."""
    call = group.calls[0]
    seen = dict.fromkeys([one.device for one in (*call.inputs, *(call.outputs or ()))])
    return ";".join(map(str, seen)) or None


def attribute(name: str) -> Values:
    """An attribute of the module: `kernel_size`."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        modules = context.rec.modules
        infos = [modules.get(group.calls[0].name) for group in groups]
        return [info.attributes.get(name) if info else None for info in infos]

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
        found.append(
            None
            if not flags
            else "partial" if len(flags) > 1 else _YES[flags == {True}]
        )
    return found


_YES = ("no", "yes")


def place(groups: Sequence[Group], context: Context) -> list[Any]:
    """The line of the call. Few places have many calls: each is written once."""
    places: dict[int, str | None] = {}
    found = []
    for group in groups:
        source = group.calls[0].source
        if id(source) not in places:
            places[id(source)] = words.place(source) or None
        found.append(places[id(source)])
    return found


def finding(group: Group) -> str | None:
    if not group.remarks:
        return None
    return words.one_line("; ".join(map(str, group.remarks))) or None


def state(group: Group) -> str | None:
    """The status and the remarks in a few words; None when there is nothing."""
    said = [] if group.status == "ok" else [group.status]
    if group.inside:
        said = [f"{group.status} ↓"]
    remarks = words.unique(remark.word for remark in group.remarks)
    said += [remark for remark in remarks if remark != "failure" or not said]
    return ", ".join(said) or None


def spread(part: str) -> Values:
    """One of the times over which the calls of a module spread, in milliseconds."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        known = [context.spread.get(group.calls[0].name) for group in groups]
        times = [getattr(one, f"{part}_ns", None) for one in known]
        return [None if time is None else time / 1e6 for time in times]

    return values


def varying(groups: Sequence[Group], context: Context) -> list[Any]:
    """`args[0] dim 0: 32, 17`: the dimensions that differ between calls."""
    found: list[Any] = []
    for group in groups:
        one = context.spread.get(group.calls[0].name)
        said = []
        for where, sizes in one.varying.items() if one is not None else ():
            shown = ", ".join(map(str, sizes[:6]))
            more = f", … {len(sizes) - 6} more" if len(sizes) > 6 else ""
            said.append(f"{where}: {shown}{more}")
        found.append("; ".join(said) or None)
    return found


# -- writing -----------------------------------------------------------------------


def shapes_text(value: Shapes | None) -> str:
    """The first two shapes and how many more there are; "–" of a call that raised."""
    return "–" if value is None else _listed(value, 2)


def shapes_narrow(value: Shapes | None) -> str:
    if value is None:
        return "–"
    two = _listed(value, 2)
    return two if len(two) <= _NARROW else _listed(value, 1)


def _listed(value: Shapes, most: int) -> str:
    written = [words.shape(sizes) for sizes in value]
    if len(written) > most:
        return f"{', '.join(written[:most])} +{len(written) - most} more"
    return ", ".join(written)


def times(values: Sequence[Any]) -> Write:
    """Milliseconds, with as many digits as the longest of the column has room for."""
    longest = max((value or 0 for value in values), default=0)
    digits = 3 if longest < 10 else 2 if longest < 10_000 else 0
    return lambda value: "?" if value is None else f"{value:,.{digits}f}"


def joined(value: Sequence[str] | None) -> str:
    return "–" if value is None else ", ".join(value)


def percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def count(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:,}"


def scaled(unit: str) -> Write:
    """Three digits and a prefix; "?" where it is not known."""
    return lambda value: "?" if value is None else words.scaled(value, unit)


def rate(value: float | None) -> str:
    """Of what computes nothing there is none."""
    return words.scaled(value) if value else ""


def sizes(value: Any) -> str:
    """`3×3`: a number for each dimension, or one for all."""
    if value is None:
        return ""
    return words.shape(value) if isinstance(value, tuple | list) else str(value)
