"""Data of another shape: nothing in the program is wrong, what it was given is."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.case import Case, spots_with_size
from shapetrace.diagnosis.changes import edited_at
from shapetrace.diagnosis.edits import resized
from shapetrace.diagnosis.generate.windows import has_windows
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair, Taken
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.sites import site_of_data
from shapetrace.records import FunctionCall

#: usual sizes of images, small ones first
_SIZES = (28, 32, 64, 96, 128, 224, 256, 299, 384, 512)


def data(case: Case) -> Iterator[Hypothesis | None]:
    """Every beginning of the odd sizes in data, of the size that would fit."""
    graph = case.graph
    for spot, wanted in spots_with_size(case):
        if spot.tensor is None or graph.is_parameter(spot.tensor):
            continue
        shape = graph.tensors[spot.tensor].shape
        if case.mismatch.kind == "rank":
            # a loss took what the model made of other data as readily
            if not (case.mismatch.loss and graph.from_model(spot.tensor)):
                yield _whole(case, spot.tensor)
            continue
        dims = [spot.dim] if spot.dim is not None else []
        if spot.dim is None and case.mismatch.kind == "numel":
            if _odd_in_data(case, spot.tensor):
                yield _whole(case, spot.tensor)
            dims = list(range(len(shape)))
        for dim in dims:
            if dim >= len(shape):
                continue
            for leaf in leaves(graph, spot.tensor, dim):
                end = leaf.end
                if end.kind != "data" or not leaf.size:
                    continue
                size = graph.size(end.tensor, end.dim)
                whole = graph.size(spot.tensor, dim) or 1
                new, rest = divmod(size * wanted, whole)
                if rest:
                    continue  # a factor, of which no other number would fit alone
                yield _of_size(case, end.tensor, end.dim, size, max(new, 1))
    yield from _images(case)


def _odd_in_data(case: Case, tensor: int) -> bool:
    """Whether data began any factor of a tensor that a view does not ask for."""
    left, _ = case.factors
    return case.graph.is_data(tensor) or any(
        leaf.end.kind == "data" for leaf in left.odd
    )


def _of_size(case: Case, tensor: int, dim: int, size: int, new: int) -> Hypothesis:
    edit = resized(dim, new)
    made = case.graph.producer(tensor)
    site = site_of_data(case.graph, tensor, target=case.is_target(tensor))
    repair: Repair | None = Repair(taken=(Taken(tensor, edit),))
    if isinstance(made, FunctionCall) and made.inputs:
        repair = None
    return Hypothesis(
        "data",
        site,
        repair,
        case.hops(tensor),
        reason=f"has {size} in dim {dim}",
        dim=dim,
        size=size,
        expected=new,
    )


def _whole(case: Case, tensor: int) -> Hypothesis:
    """Data with another number of dimensions."""
    first = tensor
    for made, call in case.graph.chain(tensor):
        first = call.inputs[0].id if call.inputs else made
    shape = case.graph.tensors[first].shape
    site = site_of_data(case.graph, first, target=case.is_target(tensor))
    return Hypothesis(
        "data", site, None, case.hops(tensor), reason=f"has shape {shape}"
    )


def _images(case: Case) -> Iterator[Hypothesis | None]:
    """The model's images resized to a usual size, the nearest first."""
    top = case.root()
    if top is None or not top.inputs or case.graph.from_model(top.inputs[0].id):
        return
    ref = top.inputs[0]
    if len(ref.shape) != 4 or ref.shape[-1] < 4 or not _spatial(case):
        return
    site = case.site_of(ref.id)
    for size in sorted(_SIZES, key=lambda size: abs(size - ref.shape[-1])):
        if ref.shape[-2:] != (size, size):
            edit = edits.resize((size, size), ref.shape[2:])
            yield edited_at(case, top, ref, edit, "cut", site, once="resize")


def _spatial(case: Case) -> bool:
    """Whether the odd size depends on that of the images: a layer's width does not."""
    for spot in case.mismatch.spots:
        if spot.tensor is None or case.graph.is_parameter(spot.tensor):
            continue
        rank = len(case.graph.tensors[spot.tensor].shape)
        dims = range(rank) if spot.dim is None else [spot.dim]
        if any(has_windows(case, spot.tensor, dim) for dim in dims if dim < rank):
            return True
    return False
