"""A convolution in the place of a transposed one, and the other way round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.windows import window_spots
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Repair, Written
from shapetrace.diagnosis.sizes.window_layers import Window, whole, windows_behind
from shapetrace.records import ModuleInfo, TensorRef
from shapetrace.source.build_line import placed
from shapetrace.source.construction import Construction
from shapetrace.source.constructor import constructor
from shapetrace.source.line import keyword
from shapetrace.source.names import spelled
from shapetrace.source.rewrite import Part, rewritten
from shapetrace.source.tree import last_name

#: windows on one way back, the newest first
_MOST = 12
#: so many of their arguments have one order in both
_SAME_ORDER = 5
#: borders take a part of it
_NEARLY = 0.3


def counterparts(case: Case) -> Iterator[Hypothesis | None]:
    seen: set[str] = set()
    for spot, wanted in window_spots(case):
        size = case.graph.size(*spot)
        for window in windows_behind(case.graph, *spot)[:_MOST] if size else ():
            info = window.info
            other = None if info.name in seen else _other_kind(info)
            if other is None or not _may_fit(info, wanted / size):
                continue
            seen.add(info.name)
            for more in _paddings(info, other):
                yield _exchanged(case, window, other, more)


def _other_kind(info: ModuleInfo) -> str | None:
    """The counterpart of a convolution that makes maps of another size."""
    stride = whole(info.attributes.get("stride"))
    if not info.qualname.startswith("torch.nn.modules.conv."):
        return None
    if info.attributes.get("groups") != 1 or not isinstance(stride, tuple):
        return None
    if set(stride) == {1} or not isinstance(info.attributes.get("padding"), tuple):
        return None
    if info.type.startswith("ConvTranspose"):
        return info.type.replace("ConvTranspose", "Conv")
    return info.type.replace("Conv", "ConvTranspose")


def _may_fit(info: ModuleInfo, times: float) -> bool:
    """Whether a side, or a map of two, so many times as long may come of the other
    kind: what divided by a stride is multiplied by it, or the other way round."""
    stride = max(info.attributes["stride"])
    if info.type.startswith("ConvTranspose"):
        times = 1 / times if times else 0
    return any(abs(times / stride**power - 1) < _NEARLY for power in (2, 4))


def _paddings(info: ModuleInfo, other: str) -> tuple[tuple[int, ...], ...]:
    """The `output_padding`s of the counterpart: odd kernels double a size with it."""
    none = tuple(0 for _ in info.attributes["stride"])
    if not other.startswith("ConvTranspose"):
        return (none,)
    return none, tuple(stride - 1 for stride in info.attributes["stride"])


def _exchanged(
    case: Case, window: Window, kind: str, more: tuple[int, ...]
) -> Hypothesis | None:
    info, finder = window.info, case.graph.constructions
    made = finder.of(info.name)
    names = finder.built_by(made) if made is not None else ()
    modules = {
        name: _as_other(case.graph.rec.modules[name], kind, more)
        for name in names or (info.name,)
    }
    repair = Repair(modules=modules)
    outcome = case.replay.start(repair)
    if outcome is None:
        return None
    line, where = _written(case, made, modules[info.name], kind, more)
    now = case.graph.size(window.hop.tensor, window.hop.dim)
    before, after = window.layer.inputs[:1], window.layer.outputs or ()
    shapes = f": it makes {after[0].shape} of {before[0].shape}" if before else ""
    return Hypothesis(
        "layer",
        case.site_named(info.name),
        repair,
        case.hops_to(info.name),
        line,
        where,
        f"{kind} instead of {info.type}",
        reason=f"is a {info.type}{shapes}",
        dim=window.hop.dim,
        size=now,
        outcome=outcome,
    )


def _as_other(info: ModuleInfo, kind: str, more: tuple[int, ...]) -> ModuleInfo:
    home = info.qualname.rpartition(".")[0]
    attributes: dict[str, Any] = {
        **info.attributes,
        "transposed": kind.startswith("ConvTranspose"),
        "output_padding": more,
    }
    return replace(
        info,
        type=kind,
        qualname=f"{home}.{kind}",
        attributes=attributes,
        parameters=tuple(map(_turned, info.parameters)),
    )


def _turned(ref: TensorRef) -> TensorRef:
    """A weight with inputs and outputs exchanged."""
    if ref.path != "weight" or len(ref.shape) < 3:
        return ref
    rows, columns, *rest = ref.shape
    return replace(ref, shape=(columns, rows, *rest))


def _written(
    case: Case,
    made: Construction | None,
    new: ModuleInfo,
    kind: str,
    more: tuple[int, ...],
) -> Written:
    """The line that builds it with the other name, where its arguments may stay as they
    are; the whole constructor where they may not."""
    if made is not None and _takes_the_same(made.call):
        tree, func = made.made.scope.tree, made.call.func
        name = spelled(f"nn.{kind}", tree.file)
        if isinstance(func, ast.Attribute):
            name = f"{tree.text(func.value)}.{kind}"
        parts: list[Part] = [(func, name)]
        if any(more):
            text = repr(more[0] if len(set(more)) == 1 else more)
            added = keyword(tree, made.call, "output_padding", text)
            parts += [added] if added is not None else []
        return rewritten(tree, parts, made.call)
    whole_text = constructor(new)
    if whole_text is None:
        return UNWRITTEN
    info = case.graph.rec.modules[new.name]
    return placed(case.graph.constructions, info, whole_text)


def _takes_the_same(call: ast.Call) -> bool:
    """Whether a call of one kind of convolution may be one of the other."""
    keys = [pair.arg for pair in call.keywords]
    starred = any(isinstance(value, ast.Starred) for value in call.args)
    if starred or None in keys or "output_padding" in keys:
        return False
    return len(call.args) <= _SAME_ORDER and last_name(call.func).startswith("Conv")
