"""The windows (convolution, pooling, upsampling) that a size went through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Any

from shapetrace.lineage import End, Graph, Hop
from shapetrace.records import ModuleCall, ModuleInfo

SETTINGS = ("kernel_size", "stride", "padding")


@dataclass(frozen=True, slots=True)
class Window:
    layer: ModuleCall
    info: ModuleInfo
    hop: Hop


def windows_behind(graph: Graph, tensor: int, dim: int) -> list[Window]:
    """The layers that are windows, newest first, on every way back of a size."""
    found: dict[str, Window] = {}
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
            if item.origin.how == "window" or told or scales(info):
                found.setdefault(info.name, Window(layer, info, item))
    return sorted(found.values(), key=lambda window: -window.layer.order)


def scales(info: ModuleInfo) -> bool:
    return info.attributes.get("scale_factor") is not None


def whole(value: Any) -> Any:
    """A setting with one number for each dimension, where it is given so."""
    return tuple(value) if isinstance(value, (tuple, list)) else value


def short(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and len(set(value)) == 1:
        return value[0]
    return value


def output_size(info: ModuleInfo, times: int) -> int | None:
    """The other `output_size` of a layer that is told it: a flatten behind it wants so
    many times more, or the one value of a channel."""
    root = times if info.type.endswith("1d") else isqrt(times)
    size = root if root in (times, isqrt(times)) and times % root == 0 else 1
    same = (size, (size,), (size,) * 2, (size,) * 3)
    return None if info.attributes["output_size"] in same else size


def differing(
    own: ModuleInfo, others: list[ModuleInfo]
) -> Iterator[tuple[str, Any, str]]:
    """Each setting that all others like a window have otherwise, what it is with them,
    and the name of one."""

    def setting(info: ModuleInfo, key: str) -> Any:
        return whole(info.attributes.get(key))

    for key in SETTINGS:
        rest = [other for other in SETTINGS if other != key]
        # a padding is right for one kernel: the others must be alike but for `key`
        alike = [
            info
            for info in others
            if all(setting(info, k) == setting(own, k) for k in rest)
        ]
        values = {setting(info, key) for info in alike}
        if len(values) == 1 and values != {setting(own, key)}:
            yield key, values.pop(), alike[0].name
