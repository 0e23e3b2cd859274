"""Windows (convolution, pooling) behind a size, with one setting changed: to what their
like have, to what keeps the size, or to the usual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.patterns.similar_modules import likes_of
from shapetrace.diagnosis.repair.rebuilding import (
    rebuilt,
    rebuilt_together,
)
from shapetrace.diagnosis.sizes.leaves import leaves
from shapetrace.diagnosis.sizes.window_layers import (
    SETTINGS,
    Window,
    differing,
    output_size,
    scales,
    short,
    whole,
    windows_behind,
)
from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo

#: tries for one side, the newest windows first
_MOST = 40


def windows(case: Case) -> Iterator[Hypothesis | None]:
    """Every window on the ways back of both sides, with each other setting."""
    for spot, wanted in _spots(case):
        tensor, dim = spot
        found = windows_behind(case.graph, tensor, dim)
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
                f"{key}={short(window.info.attributes.get(key))}" for key in changes
            )
            reason = f"gives {now}{note} with {has}{why}"
            made = replace(made, reason=reason, dim=window.hop.dim, size=now)
            if case.mismatch.loss and _skips(window.info, changes):
                made = replace(made, loses="what lies between its windows")
            yield made
        yield from _together(case, tries)


def _together(
    case: Case, tries: list[tuple[Window, dict[str, Any], str]]
) -> Iterator[Hypothesis | None]:
    """The same other setting for all windows of a type that could have it."""
    groups: dict[tuple[str, str], list[tuple[Window, dict[str, Any]]]] = {}
    for window, changes, _ in tries:
        key = (window.info.type, repr(changes))
        groups.setdefault(key, []).append((window, changes))
    for group in groups.values():
        if len(group) < 2:
            continue
        first, changes = group[0]
        names = list(dict.fromkeys(window.info.name for window, _ in group))
        made = rebuilt_together(case, names, changes, "window", _told(changes))
        if made is not None:
            has = ", ".join(
                f"{key}={short(first.info.attributes.get(key))}" for key in changes
            )
            others = ", ".join(f"`{case.graph.said(name)}`" for name in names[1:])
            now = case.graph.size(first.hop.tensor, first.hop.dim)
            reason = f"gives {now} with {has}, and so does {others}"
            yield replace(made, reason=reason, dim=first.hop.dim, size=now)


def _spots(case: Case) -> Iterator[tuple[tuple[int, int], int]]:
    for spot, size in case.assumed:
        if spot.tensor is not None and spot.dim is not None:
            yield (spot.tensor, spot.dim), size
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
    return ", ".join(f"{key}={short(value)}" for key, value in changes.items())


def _usual(
    graph: Graph, window: Window, windows: list[Window], times: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """Other settings, one at a time, and what speaks for them."""
    own = window.info.attributes
    if "output_size" in own:
        size = output_size(window.info, times)
        if size is not None:
            yield {"output_size": size}, ""
        return
    if scales(window.info):
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
    for key, value, name in differing(window.info, others):
        yield {key: value}, f"; {short(value)} is what `{graph.said(name)}` has"
    kernel, stride, padding = (whole(own.get(key)) for key in SETTINGS)
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


def _rates(window: Window, times: int) -> Iterator[tuple[dict[str, Any], str]]:
    """A rate so many times as high: of a transposed convolution with the kernel and
    the padding that go with it, of others the stride alone."""
    own = window.info.attributes
    kernel, stride, padding = (whole(own.get(key)) for key in SETTINGS)
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
    graph: Graph, window: Window, kernel: tuple[int, ...], stride: Any
) -> Iterator[tuple[dict[str, Any], str]]:
    """One axis left as it is, where the others are scaled."""
    if len(kernel) < 2 or stride != kernel:
        return
    rank = len(graph.tensors[window.hop.tensor].shape)
    axis = window.hop.dim - rank + len(kernel)
    ones = tuple(1 if at == axis else n for at, n in enumerate(kernel))
    if axis >= 0 and ones != kernel:
        yield {"kernel_size": ones, "stride": ones}, ""


def has_windows(case: Case, tensor: int, dim: int) -> bool:
    """Whether windows stand behind any factor of a size."""
    return any(
        hop.origin.how == "window"
        for leaf in leaves(case.graph, tensor, dim)
        for hop in leaf.hops
    )


def _skips(info: ModuleInfo, changes: dict[str, Any]) -> bool:
    """Whether a window with these changes passes over places that it never takes in."""
    now = {**info.attributes, **changes}
    stride, kernel = (
        value if isinstance(value, tuple) else (value,)
        for value in (whole(now.get("stride")), whole(now.get("kernel_size")))
    )
    return any(
        isinstance(one, int) and isinstance(other, int) and one > other
        for one, other in zip(stride, kernel, strict=False)
    )
