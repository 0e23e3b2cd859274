"""What the calls of a row are, as a column's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shapetrace.records import TensorRef
from shapetrace.views import words
from shapetrace.views.columns.column import Context, Group, Values
from shapetrace.views.columns.formatters import Shapes

_LOGITS = ("['logits']", ".logits")


def each(get: Callable[[Group], Any]) -> Values:
    return lambda groups, context: [get(group) for group in groups]


def first(name: str) -> Values:
    """An attribute of the call that stands for the others."""
    return lambda groups, context: [getattr(group.calls[0], name) for group in groups]


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
    """An attribute of the module: `kernel_size`. What holds others has none: a ResNet's
    own `groups` is what its blocks are built with."""

    def values(groups: Sequence[Group], context: Context) -> list[Any]:
        modules = context.rec.modules
        holders = {one.rpartition(".")[0] for one in modules if one}
        infos = [
            None if one in holders else modules.get(one)
            for one in (group.calls[0].name for group in groups)
        ]
        return [info.attributes.get(name) if info else None for info in infos]

    return values


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
