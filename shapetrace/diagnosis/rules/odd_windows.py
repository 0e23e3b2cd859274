"""Windows (convolution, pooling) on the way of a size, of which one setting changed
to what its neighbours have, or to the usual, would make everything fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.mismatch import Mismatch
from shapetrace.diagnosis.replay import Replay
from shapetrace.diagnosis.rules.suspects import Place, remark
from shapetrace.diagnosis.sites import culprit_of_call
from shapetrace.diagnosis.window_layers import (
    SETTINGS,
    Window,
    differing,
    output_size,
    short,
    whole,
    windows_behind,
)
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, ModuleInfo
from shapetrace.source.constructor import changed

#: tries for one failure, the newest windows first
_MOST = 24
#: re-walked calls in all of them: one more cause is looked for, not a fix
_WALKED = 300


def misfit(
    graph: Graph, problem: Mismatch, place: Place, wanted: int = 0
) -> tuple[Culprit, bool] | None:
    """The window whose one setting explains the clash: with another one the failing
    call goes through. True where that is the setting of the other windows on the way
    or fits the kernel; False where it is but the default."""
    if place.tensor is None or place.dim is None:
        return None
    windows = windows_behind(graph, place.tensor, place.dim)
    times = max(1, wanted // (graph.size(place.tensor, place.dim) or 1))
    tries = [
        (window, *setting)
        for window in windows
        for setting in _usual(graph, window, windows, times)
    ]
    tries.sort(key=lambda entry: not entry[3])  # stable: the newest windows first
    replay = Replay(graph, problem, _WALKED)
    for window, key, value, why in tries[:_MOST]:
        try:
            new = changed(window.info, **{key: value})
        except ValueError:
            continue
        if new is None:
            continue
        outcome = replay.run(Repair(modules={window.info.name: new}))
        if outcome is not None and outcome.status == "verified":
            made = graph.size(window.hop.tensor, window.hop.dim)
            note = remark(window.hop.origin) if key != "output_size" else ""
            has = f"{key}={short(window.info.attributes.get(key))}"
            reason = (
                f"gives {made}{note} with {has}; {key}={short(value)}{why} would fit"
            )
            found = culprit_of_call(
                graph, window.layer, dim=window.hop.dim, size=made, reason=reason
            )
            return found, bool(why)
    return None


def _usual(
    graph: Graph, window: Window, windows: list[Window], times: int
) -> Iterator[tuple[str, Any, str]]:
    """Other settings, one at a time, and what speaks for them."""
    own = window.info.attributes
    if "output_size" in own:
        size = output_size(window.info, times)
        if size is not None:
            yield "output_size", size, " alone"
        return
    others = [
        other.info
        for other in windows
        if other is not window and other.info.type == window.info.type
    ]
    for key, value, name in differing(window.info, others):
        yield key, value, f", as `{graph.said(name)}` has,"
    kernel, stride, padding = (whole(own.get(key)) for key in SETTINGS)
    if not isinstance(kernel, tuple) or not isinstance(padding, tuple):
        if stride != kernel and not isinstance(kernel, tuple):
            yield "stride", kernel, ""
        return
    plain = padding == (0,) * len(kernel)
    if stride != kernel and set(kernel) != {1} and plain:
        yield "stride", kernel, ", the kernel's,"
        if isinstance(stride, tuple) and set(stride) != {1}:
            yield "kernel_size", stride, ", the stride's,"
    keeps = tuple(size // 2 for size in kernel)
    same = all(_keeps_size(info) for info in others)
    if padding != keeps and all(size % 2 for size in kernel):
        yield "padding", keeps, ", half the kernel," if same else ""
    if not plain:
        yield "padding", (0,) * len(kernel), ""
    if stride != (1,) * len(kernel):
        yield "stride", (1,) * len(kernel), ""


def _keeps_size(info: ModuleInfo) -> bool:
    kernel, _, padding = (whole(info.attributes.get(key)) for key in SETTINGS)
    return isinstance(kernel, tuple) and padding == tuple(k // 2 for k in kernel)
