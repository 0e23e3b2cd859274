"""A pooling that is told what it is to give, whatever the size of the images: in the
place of one by windows, or before a map is flattened, where none stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.generate.windows import window_spots
from shapetrace.diagnosis.hypothesis import Hypothesis, Written
from shapetrace.diagnosis.repair.changes import edited_at, recalled
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.repair.rebuilding import installed
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.sizes.window_layers import windows_behind
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import kind, module_function, predict
from shapetrace.source.constructor import constructor
from shapetrace.source.line import find

_FLATTENING = ("view", "reshape", "flatten")
_WIDE = 4
_LOSES = "where in a map it is"


def poolings(case: Case) -> Iterator[Hypothesis | None]:
    newest: set[str] = set()
    for spot, _ in window_spots(case):
        for window in windows_behind(case.graph, *spot)[:1]:
            if window.info.name not in newest:
                newest.add(window.info.name)
                yield from _layer(case, window.layer, window.info)
    for call in own_calls(case):
        if call.name.startswith(("max_pool", "avg_pool")):
            yield from _function(case, call)
        elif call.name in _FLATTENING and call.inputs:
            yield from _before(case, call)


def _sides(case: Case, made: TensorRef | None) -> Iterator[int]:
    """How long the sides of a map have to be for what is made of it to have the size
    that is wanted."""
    space = len(made.shape) - 2 if made is not None else 0
    if made is None or space < 1:
        return
    places = prod(made.shape[2:])
    for own, wanted in case.mismatch.wanted:
        if own.tensor is None or case.graph.is_parameter(own.tensor) or not own.size:
            continue
        fitting, rest = divmod(places * wanted, own.size)
        side = round(fitting ** (1 / space))
        if not rest and 0 < fitting < places and side**space == fitting:
            yield side


def _layer(
    case: Case, call: ModuleCall, info: ModuleInfo
) -> Iterator[Hypothesis | None]:
    """`nn.AdaptiveAvgPool2d(1)` where `nn.AvgPool2d(8)` stands."""
    if not info.qualname.startswith("torch.nn.modules.pooling."):
        return
    if not info.type.startswith(("AvgPool", "MaxPool")):
        return
    kernel = info.attributes.get("kernel_size")
    if not _is_wide(kernel):
        return
    made = (call.outputs or (None,))[0]
    for side in _sides(case, made):
        kind = f"Adaptive{info.type}"
        new = ModuleInfo(
            info.name,
            kind,
            f"torch.nn.modules.pooling.{kind}",
            attributes={"output_size": side},
            training=info.training,
        )
        text = constructor(new)
        words = f"{kind} instead of {info.type}"
        found = installed(case, info, text, new, "layer", words)
        reason = f"gives {made.shape} with kernel_size={kernel}" if made else ""
        yield found and replace(found, reason=reason, loses=_LOSES)


def _function(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """The same of a function."""
    if not _is_wide(call.kwargs.get("kernel_size", (*call.args[1:2], None)[0])):
        return
    made = (call.outputs or (None,))[0]
    for side in _sides(case, made):
        name = f"adaptive_{call.name}"
        yield recalled(
            case,
            call,
            partial(_adaptive, name=name, side=side),
            partial(_line, call, name, side),
            f"`{name}` in the place of `{call.name}`",
            "exchange",
            _LOSES,
            reason=f"gives {made.shape}" if made is not None else "",
        )


def _is_wide(kernel: object) -> bool:
    """Whether a window may be one for the whole of a map: the usual ones are not."""
    sides = kernel if isinstance(kernel, tuple) else (kernel,)
    return all(isinstance(side, int) and side >= _WIDE for side in sides)


def _adaptive(call: FunctionCall, name: str, side: int) -> FunctionCall:
    first = replace(call.inputs[0], path="args[0]")
    return replace(
        call,
        name=name,
        qualname=f"torch.nn.functional.{name}",
        inputs=(first,),
        args=(first, side),
        kwargs={},
    )


def _line(call: FunctionCall, name: str, side: int) -> Written | None:
    line = find(call.source)
    node = line.argument("args[0]") if line is not None else None
    if line is None or node is None:
        return None
    text = line.spelled(f"F.{name}({line.text(node)}, {side})")
    return line.around(text), line.source


def _before(case: Case, call: FunctionCall) -> Iterator[Hypothesis | None]:
    """Put in before a map is flattened: as those that the same forward calls, or told
    what to give."""
    ref = call.inputs[0]
    site = site_of_call(case.graph, call)
    last = _last_window(case, ref)
    if not last or call.outputs and len(call.outputs[0].shape) > 2:
        return  # no map of images, or places that stay apart
    edits_of_maps = [*_as_others(case, call)] if last == "convolution" else []
    for side in _sides(case, ref):
        edits_of_maps.append(_adaptive_pool(side, len(ref.shape) - 2))
    for edit in edits_of_maps:
        yield edited_at(case, call, ref, edit, site=site)


def _last_window(case: Case, ref: TensorRef) -> str:
    """What made a map last: where it was a pooling, none was left out; "" where no
    convolution did."""
    for _, call in case.graph.chain(ref.id):
        name = call.name if isinstance(call, FunctionCall) else call.type.lower()
        if "pool" in name:
            return "pooling"
        if name.startswith("conv"):
            return "convolution"
    return ""


def _as_others(case: Case, call: FunctionCall) -> Iterator[Edit]:
    """The poolings that the forward calls around which a call stands, once more."""
    seen: set[str] = set()
    for behind in case.behind:
        pool = behind.call
        if pool.parent != call.parent or len(pool.inputs) != 1:
            continue
        if isinstance(pool, FunctionCall):
            function: FunctionCall | None = pool if kind(pool.name) == "pool" else None
        else:
            info = case.graph.rec.modules.get(pool.name)
            pools = info is not None and "Pool" in info.type
            function = module_function(pool, info) if info and pools else None
        line = find(pool.source) if function is not None else None
        node = line.argument("args[0]") if line is not None else None
        if function is None or line is None or node is None:
            continue
        text = line.code.replace(line.text(node), "{}", 1)
        if text not in seen and text.count("{") == 1:
            seen.add(text)
            words = "is pooled once more, as the maps before it"
            yield Edit(text, partial(_pooled, function=function), words)


def _pooled(t: torch.Tensor, function: FunctionCall) -> torch.Tensor:
    """A bare tensor of the shape that a pooling makes of one."""
    made = predict(function, (tuple(t.shape),))
    if not made or any(size < 1 for size in made[0]):
        raise ValueError(t.shape)
    return t.new_empty(made[0])


def _adaptive_pool(side: int, space: int) -> Edit:
    """Every map to its mean in so many parts to a side."""
    parts = "one number" if side == 1 else " by ".join([str(side)] * space)
    return Edit(
        f"F.adaptive_avg_pool{space}d({{}}, {side})",
        lambda t: t.new_empty((*t.shape[:2], *(side,) * space)),
        f"averages every map to {parts}",
        loses=_LOSES,
    )
