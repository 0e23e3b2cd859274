"""What a site has to do with a tensor, in words: the reason of a hypothesis that has
none of its own."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Site
from shapetrace.diagnosis.sites import owner, site_of_maker
from shapetrace.diagnosis.sizes.leaves import changers
from shapetrace.records import FunctionCall, TensorRef


def said_of(case: Case, site: Site, ref: TensorRef, dim: int | None = None) -> str:
    """What a site has to do with a tensor that meets others, or with one dimension."""
    hops = case.graph.trail(ref.id, dim).hops if dim is not None else ()
    for hop in changers(hops)[:1]:
        if site_of_maker(case.graph, hop.call).key == site.key and hop.origin.note:
            size = case.graph.size(hop.tensor, hop.dim)
            return f"makes the {size} ({hop.origin.note})"
    width = case.mismatch.width
    if width is not None and width.tensor == ref.id and site.kind == "module":
        return (
            f"makes {width.size} for each of the {ref.shape[0]}, the other side has one"
            " for each"
        )
    if site.kind in ("target", "input"):
        return f"has shape {ref.shape}" + _elsewhere(case, ref.shape)
    if site.kind == "module" and site.name == owner(case.graph, ref.id):
        origin = case.graph.origin(ref.id)
        name = origin.name.rpartition(".")[2] if origin is not None else site.name
        return f"holds `{name}` with {len(ref.shape)} dimensions, {ref.shape}"
    if site.kind == "module" and case.layer is not None:
        if site.name == case.layer.name:
            return f"is given {ref.shape}"
    if site.kind == "function" and site.place == (case.call.name, case.call.source):
        return f"takes {ref.shape} as it is"
    return given(case, ref.id)


def given(case: Case, tensor: int) -> str:
    """What whoever made a tensor did."""
    shape, made = case.graph.tensors[tensor].shape, case.graph.producer(tensor)
    if isinstance(made, FunctionCall) and made.direct and made.inputs:
        before = made.inputs[0].shape
        if len(before) != len(shape):
            return f"changes {before} -> {shape}" + _elsewhere(case, shape)
    return f"gives {shape}" + _elsewhere(case, shape)


def _elsewhere(case: Case, shape: tuple[int, ...]) -> str:
    """Where a side of such a shape has the size of the other, if not where they
    meet."""
    inputs = case.mismatch.call.inputs
    for clash in case.mismatch.conflicts:
        for own, other in ((clash.left, clash.right), (clash.right, clash.left)):
            if own.input is None or own.dim is None or other.dim is None:
                continue
            if inputs[own.input].shape != shape or other.size < 2:
                continue
            if shape.count(other.size) == 1:
                dim = shape.index(other.size)
                return f", with the {other.size} in dim {dim}, not in dim {own.dim}"
    return ""
