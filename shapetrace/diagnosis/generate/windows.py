"""Windows (convolution, pooling) behind a size, with one setting changed: to what their
like have, to what keeps the size, or to the usual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.changes import rebuilt
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.similar_modules import likes_of
from shapetrace.lineage import End, Graph, Hop
from shapetrace.records import ModuleCall, ModuleInfo

#: tries for one side, the newest windows first
_MOST = 40
_SETTINGS = ("kernel_size", "stride", "padding")


@dataclass(frozen=True, slots=True)
class _Window:
    layer: ModuleCall
    info: ModuleInfo
    hop: Hop


def windows(case: Case) -> Iterator[Hypothesis | None]:
    """Every window on the ways back of both sides, with each other setting."""
    for spot, wanted in _spots(case):
        tensor, dim = spot
        found = _windows(case.graph, tensor, dim)
        size = case.graph.size(tensor, dim)
        times = max(1, wanted // (size or 1))
        tries = [
            (window, *setting)
            for window in found
            for setting in _usual(case.graph, window, found, times)
        ]
        for window, changes, why in tries[:_MOST]:
            made = rebuilt(case, window.info.name, changes, "window", _told(changes))
            if made is None:
                continue
            now = case.graph.size(window.hop.tensor, window.hop.dim)
            note = window.hop.origin.note
            note = f" ({note})" if note and not note.startswith("probed") else ""
            has = ", ".join(
                f"{key}={_short(window.info.attributes.get(key))}" for key in changes
            )
            reason = f"gives {now}{note} with {has}{why}"
            yield replace(made, reason=reason, dim=window.hop.dim, size=now)


def _spots(case: Case) -> Iterator[tuple[tuple[int, int], int]]:
    left, right = case.mismatch.left, case.mismatch.right
    if left is None or right is None:
        return
    for spot, other in ((left, right), (right, left)):
        if spot.tensor is None or case.graph.is_parameter(spot.tensor):
            continue
        if spot.dim is not None:
            yield (spot.tensor, spot.dim), other.size
        elif case.mismatch.kind == "numel":
            for dim in range(len(case.graph.tensors[spot.tensor].shape)):
                yield (spot.tensor, dim), other.size


def _told(changes: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in changes.items())


def _windows(graph: Graph, tensor: int, dim: int) -> list[_Window]:
    """The layers that are windows, newest first, on every way back of a size."""
    found: dict[str, _Window] = {}
    todo, seen = [(tensor, dim)], {(tensor, dim)}
    while todo:
        for item in graph.walk(*todo.pop()):
            if isinstance(item, End):
                if item.kind == "branch":
                    todo += [at for at in item.sources if at not in seen]
                    seen.update(item.sources)
                continue
            if item.origin.how == "product":
                # what is 1 has no part in the product, but could have
                ones = graph.source_ids(item.call, item.origin)
                todo += [at for at in ones if at not in seen]
                seen.update(ones)
            layer = graph.layer_of(item.call)
            info = graph.rec.modules.get(layer.name) if layer is not None else None
            if layer is None or info is None or layer.outputs is None:
                continue
            told = item.origin.how == "argument" and "output_size" in info.attributes
            if item.origin.how == "window" or told or _scales(info):
                found.setdefault(info.name, _Window(layer, info, item))
    return sorted(found.values(), key=lambda window: -window.layer.order)


def _scales(info: ModuleInfo) -> bool:
    return info.attributes.get("scale_factor") is not None


def _usual(
    graph: Graph, window: _Window, windows: list[_Window], times: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """Other settings, one at a time, and what speaks for them."""
    own = window.info.attributes
    if "output_size" in own:
        # a flatten behind it wants so many times more, or the one value of a channel
        root = times if window.info.type.endswith("1d") else isqrt(times)
        size = root if root in (times, isqrt(times)) and times % root == 0 else 1
        if own["output_size"] not in (size, (size,), (size,) * 2, (size,) * 3):
            yield {"output_size": size}, ""
        return
    if _scales(window.info):
        scale = own["scale_factor"]
        for other in (2, 4, 2 * times):
            if isinstance(scale, (int, float)) and scale != other:
                yield {"scale_factor": other}, ""
        return
    others = [
        other.info
        for other in windows
        if other is not window and other.info.type == window.info.type
    ]
    others += [like for like in likes_of(graph, window.info.name)]
    for key in _SETTINGS:
        rest = [other for other in _SETTINGS if other != key]
        # a padding is right for one kernel: the others must be alike but for `key`
        alike = [
            info
            for info in others
            if all(_whole(info.attributes.get(k)) == _whole(own.get(k)) for k in rest)
        ]
        values = {_whole(info.attributes.get(key)) for info in alike}
        if len(values) == 1 and values != {_whole(own.get(key))}:
            value = values.pop()
            why = f"; {_short(value)} is what `{alike[0].name}` has"
            yield {key: value}, why
    kernel, stride, padding = (_whole(own.get(key)) for key in _SETTINGS)
    if not isinstance(kernel, tuple) or not isinstance(padding, tuple):
        if stride != kernel and not isinstance(kernel, tuple):
            yield {"stride": kernel}, ""
        yield from _rates(window, times)
        return
    rank = len(kernel)
    yield from _one_axis(graph, window, kernel, stride)
    plain = padding == (0,) * rank
    if stride != kernel and set(kernel) != {1} and plain:
        yield {"stride": kernel}, "; the kernel's stride would be that"
        if isinstance(stride, tuple) and set(stride) != {1}:
            yield {"kernel_size": stride}, ""
    keeps = tuple(size // 2 for size in kernel)
    if padding != keeps and all(size % 2 for size in kernel):
        yield {"padding": keeps}, ""
    if not plain:
        yield {"padding": (0,) * rank}, ""
    if stride != (1,) * rank:
        yield {"stride": (1,) * rank}, ""
    if window.info.type.startswith("ConvTranspose"):
        yield {"output_padding": (1,) * rank}, ""
    yield from _rates(window, times)


def _rates(window: _Window, times: int) -> Iterator[tuple[dict[str, Any], str]]:
    """A rate so many times as high: of a transposed convolution with the kernel and
    the padding that go with it, of others the stride alone."""
    own = window.info.attributes
    kernel, stride, padding = (_whole(own.get(key)) for key in _SETTINGS)
    if not all(isinstance(one, tuple) for one in (kernel, stride, padding)):
        return
    if window.info.type.startswith("ConvTranspose") and times > 1:
        changes = {
            "kernel_size": tuple(k * times for k in kernel),
            "stride": tuple(s * times for s in stride),
            "padding": tuple(
                (k * times - s * times) // 2 for k, s in zip(kernel, stride)
            ),
        }
        yield changes, f"; a rate {times} times as high is wanted of all of them"
    elif set(stride) == {1}:
        yield {"stride": (2,) * len(stride)}, ""


def _one_axis(
    graph: Graph, window: _Window, kernel: tuple[int, ...], stride: Any
) -> Iterator[tuple[dict[str, Any], str]]:
    """One axis left as it is, where the others are scaled."""
    if len(kernel) < 2 or stride != kernel:
        return
    rank = len(graph.tensors[window.hop.tensor].shape)
    axis = window.hop.dim - rank + len(kernel)
    ones = tuple(1 if at == axis else n for at, n in enumerate(kernel))
    if axis >= 0 and ones != kernel:
        yield {"kernel_size": ones, "stride": ones}, ""


def _whole(value: Any) -> Any:
    """A setting with one number for each dimension, where it is given so."""
    return tuple(value) if isinstance(value, (tuple, list)) else value


def _short(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and len(set(value)) == 1:
        return value[0]
    return value


def has_windows(case: Case, tensor: int, dim: int) -> bool:
    """Whether windows stand behind any factor of a size."""
    return any(
        hop.origin.how == "window"
        for leaf in leaves(case.graph, tensor, dim)
        for hop in leaf.hops
    )
