"""The windows (convolution, pooling, upsampling) that a size went through."""

from __future__ import annotations

from dataclasses import dataclass
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
