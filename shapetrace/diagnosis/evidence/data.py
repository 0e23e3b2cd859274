"""What the data says: dimensions that nothing touched, batches that differ, a batch of
one, kinds of targets, channels of images."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.patterns.kept_state import kept_by_model
from shapetrace.diagnosis.sizes.leaves import Leaf, counts_samples
from shapetrace.lineage import Call, Graph, Trail
from shapetrace.records import FunctionCall

_CHANNELS = (1, 3, 4)
#: what signatures call dimensions that may be batches
_BATCH_ROLES = ("", "batch", "input", "other")


class _Began(NamedTuple):
    """The dimension of data that a size began in, and whether that counts samples."""

    tensor: int
    dim: int
    samples: bool


def data(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """The strongest of what the data says."""
    if case.mismatch.kind == "range" and _counted_from_one(case):
        if hypothesis.site.kind in ("target", "input"):
            return Fact("counted from one", text="its values count from 1")
        return Fact("counted from one, not this")
    ends = _ends(case)
    both = all(end is not None for end in ends) and len(ends) == 2
    if hypothesis.site.kind not in ("input", "target") and _unequal(case, ends):
        return Fact("unequal batches, not this")
    if hypothesis.form == "data" and (hypothesis.dim, hypothesis.size) == (0, 1):
        return Fact("a batch of one met more samples")
    if hypothesis.form == "data":
        if both and not _alike(case.graph, ends):
            if _unequal(case, ends):
                return Fact(
                    f"unequal batches, {hypothesis.site.kind}",
                    text="the two came in with unequal batches",
                )
            return Fact("both sizes came in with data")
        touched = _touched(case, hypothesis)
        if not touched:
            return Fact("nothing touched it", text="nothing touched it since")
        return Fact("layers touched it")
    if hypothesis.form in ("insert", "reduce", "values", "cut") and case.target:
        if hypothesis.site.kind == "target":
            integer = not case.target.dtype.is_floating_point
            return Fact("integer target" if integer else "float target")
    if hypothesis.form == "omit" and _ate_batch(hypothesis, case):
        return Fact("took the batch of one", text="the batch here is of one sample")
    if hypothesis.form in ("intake", "setting") and case.layer is not None:
        ref = case.layer.inputs[0] if case.layer.inputs else None
        if ref is not None and not case.graph.from_model(ref.id):
            if {spot.size for spot in case.mismatch.spots} <= set(_CHANNELS):
                return Fact("channels of images")
            return Fact("the first layer")
    return None


def taken(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Data that a layer with parameters took as it is, beside the call that fails: the
    model was built for it."""
    if hypothesis.site.kind not in ("input", "target"):
        return None
    for spot in case.mismatch.spots:
        if spot.tensor is None or case.site_of(spot.tensor).key != hypothesis.site.key:
            continue
        for user in case.graph.users.get(spot.tensor, ()):
            layer = case.graph.layer_of(user)
            if layer is None or user.index == case.call.index or not user.outputs:
                continue
            if any(case.graph.is_parameter(ref.id) for ref in user.inputs):
                if _width_in(case, user, spot):
                    text = f"`{case.path(layer.name)}` takes it as it is"
                    return Fact("a layer took it as it is", text=text)
    return None


def picture(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Labels that came in with the channels of a picture, red, green and blue, where a
    layer gives a map for each class: they were not read as classes."""
    if hypothesis.site.kind not in ("input", "target") or not case.mismatch.loss:
        return None
    held = [spot.tensor for spot in case.mismatch.spots if spot.tensor is not None]
    for own, other in permutations(held, 2):
        shape, maps = (case.graph.tensors[tensor].shape for tensor in (own, other))
        if not len(shape) == len(maps) == 4 or not case.graph.from_model(other):
            continue
        if case.site_of(own).key != hypothesis.site.key or case.graph.from_model(own):
            continue
        for channels, places in ((shape[1], shape[2:]), (shape[3], shape[1:3])):
            if channels in _CHANNELS[1:] and places == maps[2:] and channels != maps[1]:
                text = "they have the channels of a picture"
                return Fact("labels are a picture", text=text)
    return None


def _width_in(case: Case, user: Call, spot: Spot) -> bool:
    """Whether what is odd is among the dimensions that a layer's width must fit: those
    of which it leaves nothing; of counted elements any may be."""
    if spot.dim is None:
        return True
    made = case.graph.relation(user).outputs
    left = {source for dims in made for origin in dims for source in origin.sources}
    at = next(n for n, ref in enumerate(user.inputs) if ref.id == spot.tensor)
    return (at, spot.dim) not in left


def _unequal(case: Case, ends: list[_Began | None]) -> bool:
    """Whether it is the batches of two tensors of data that disagree."""
    if kept_by_model(case) is not None:
        return False  # of one batch each, at its own time
    if any(side.shared and not side.odd for side in case.factors):
        return False  # one side has all that the other has, and a factor more
    if len(ends) < 2 or None in ends or _alike(case.graph, ends):
        return False
    batches = all(spot.role in _BATCH_ROLES for spot in case.mismatch.spots)
    return batches and all(end is not None and end.samples for end in ends)


def _alike(graph: Graph, ends: list[_Began | None]) -> bool:
    """Whether both sides began with one size: what lies between made them unlike."""
    sizes = {graph.size(end.tensor, end.dim) for end in ends if end is not None}
    return len(sizes) < 2


def _counted_from_one(case: Case) -> bool:
    """Whether indices that are out of range go from 1 to the number of entries."""
    right = case.mismatch.right
    return right is not None and case.indices == (1, right.size)


@once
def _ends(case: Case) -> list[_Began | None]:
    """For each side of the mismatch, where its size began, if it was in data: of 4·264
    against 4·128 the 264 and the 128."""
    found: list[_Began | None] = []
    sides = zip((case.mismatch.left, case.mismatch.right), case.factors)
    for spot, side in ((spot, side) for spot, side in sides if spot is not None):
        way: Leaf | Trail | None = None
        if len(side.odd) == 1:
            way = side.odd[0]
        elif spot.tensor is not None and spot.dim is not None:
            way = case.graph.trail(spot.tensor, spot.dim)
        end = way.end if way is not None else None
        inside = (
            end is not None and end.call is not None and end.call.parent is not None
        )
        if way is None or end is None or end.kind != "data" or inside:
            found.append(None)
            continue
        samples = counts_samples(case.graph, way.hops, end)
        found.append(_Began(end.tensor, end.dim, samples))
    return found


def _touched(case: Case, hypothesis: Hypothesis) -> bool:
    """Whether a layer with parameters lies between the data and the failure."""
    for spot in case.mismatch.spots:
        if spot.tensor is None:
            continue
        if hypothesis.site.place == spot.tensor:
            return False
        for made, call in case.graph.chain(spot.tensor):
            first = call.inputs[0].id if call.inputs else made
            if hypothesis.site.place in (made, first):
                return case.graph.from_model(spot.tensor)
    return any(
        spot.tensor is not None and case.graph.from_model(spot.tensor)
        for spot in case.mismatch.spots
    )


def _ate_batch(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a squeeze or an index took dimension 0 of size 1, where the model's input
    has a batch of one."""
    repair = hypothesis.repair
    if repair is None or hypothesis.site.name != "squeeze":
        return False
    for index in repair.calls:
        call = case.graph.rec.functions[index] if index >= 0 else None
        if isinstance(call, FunctionCall) and call.inputs and call.outputs:
            before = call.inputs[0].shape
            if before[:1] == (1,) and _is_batch(case.graph, call.inputs[0].id):
                return True
    return False


def _is_batch(graph: Graph, tensor: int) -> bool:
    trail = graph.trail(tensor, 0)
    return counts_samples(graph, trail.hops, trail.end)
