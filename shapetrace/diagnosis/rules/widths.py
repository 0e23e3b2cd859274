"""Proposals that rebuild the layer which gave, or takes, the wrong number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.detect import Spot
from shapetrace.diagnosis.leaves import changers, leaves
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.sites import owner
from shapetrace.lineage import Graph, Hop
from shapetrace.signatures import size_given

#: a layer before a flatten is not made wider than so many times to fill it
_WIDER = 4


def producers(desk: Desk, spot: Spot, wanted: int) -> Iterator[Candidate | None]:
    """The layers behind a size, built so that it becomes `wanted`."""
    graph = desk.graph
    if spot.tensor is None or spot.dim is None or wanted < 1:
        return
    size = graph.size(spot.tensor, spot.dim)
    found = leaves(graph, spot.tensor, spot.dim)
    # with samples among the factors, no width of a layer is to be the number of samples
    mixed = len(found) > 1 and any(
        leaf.end.kind == "data" and leaf.end.dim == 0 for leaf in found
    )
    for leaf in found:
        if not leaf.size:
            continue
        if leaf.end.kind == "parameter" and not mixed:
            name = owner(graph, leaf.end.tensor)
            info = graph.rec.modules.get(name or "")
            other = size // leaf.size
            if info is None or name is None or not other or wanted % other:
                continue
            width = size_given(info.type)
            old = None if width is None else info.attributes.get(width)
            if width is None or not isinstance(old, int):
                continue
            new = _scaled(old, leaf.size, wanted // other)
            if other == 1 or new <= _WIDER * old:
                yield desk.rebuild(name, {width: new})
        yield from _windows(desk, leaf.hops)


def is_width(graph: Graph, tensor: int, dim: int) -> bool:
    """Whether a size is how many features or channels a layer gives: none of these is
    to be left out, as steps of a sequence or rows of an image may be."""
    end = graph.trail(tensor, dim).end
    name = owner(graph, end.tensor) if end.kind == "parameter" else None
    info = None if name is None else graph.rec.modules.get(name)
    return info is not None and size_given(info.type) is not None


def _scaled(old: int, size: int, wanted: int) -> int:
    """The width that gives `wanted` where `old` gave `size` (a part or a sum of it)."""
    if size == old:
        return wanted
    if (old * wanted) % size == 0:
        return old * wanted // size
    return max(1, old + wanted - size)


def _windows(desk: Desk, hops: tuple[Hop, ...]) -> Iterator[Candidate | None]:
    """A convolution without the padding that would keep the size."""
    graph = desk.graph
    for hop in changers(graph, hops):
        layer = graph.layer_of(hop.call)
        info = graph.rec.modules.get(layer.name) if layer is not None else None
        if info is None or hop.origin.how != "window":
            continue
        kernel = info.attributes.get("kernel_size")
        if isinstance(kernel, int):
            kernel = (kernel,)
        if not info.type.startswith("Conv") or not kernel:
            continue
        if info.type.startswith("ConvTranspose") and len(kernel) > 1:
            # one axis left as it is, where encoders pool all axes but that one
            axis = hop.dim - len(graph.tensors[hop.tensor].shape) + len(kernel)
            ones = tuple(1 if at == axis else n for at, n in enumerate(kernel))
            if axis >= 0 and info.attributes.get("stride") == kernel != ones:
                changes = {"kernel_size": ones, "stride": ones}
                words = f"kernel_size and stride {ones} instead of {kernel}"
                made = desk.rebuild(info.name, changes, words)
                yield None if made is None else replace(made, strong=True)
        padding = tuple(size // 2 for size in kernel)
        if info.attributes.get("padding") != padding and any(padding):
            yield desk.rebuild(info.name, {"padding": padding})
        if info.type.startswith("ConvTranspose"):
            yield desk.rebuild(info.name, {"output_padding": (1,) * len(kernel)})
        elif info.attributes.get("stride") != (1,) * len(kernel):
            yield desk.rebuild(info.name, {"stride": (1,) * len(kernel)})
