"""Whether samples stay samples in a repaired program: what fits and takes them for
features, adds them up or makes classes of them is no verified fix."""

from __future__ import annotations

from itertools import combinations
from math import prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.layout import meetings, root
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.lineage.changed_dimensions import ChangedAxes
from shapetrace.lineage.dimensions import Axes
from shapetrace.lineage.factors import Root
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_elementwise, loss


def stay_apart(case: Case, hypothesis: Hypothesis) -> bool:
    """Whether nothing is known against a repair in what its dimensions are made of."""
    repair = hypothesis.repair
    found = case.replay.repaired(repair) if repair is not None else None
    if found is None:
        return True
    axes, final = found
    return not (
        _meet_across(case, hypothesis, axes, final)
        or _pair_all(case, axes, final)
        or _are_lost(case, axes, final)
        or _are_classes(case, axes, final)
    )


def _meet_across(
    case: Case, hypothesis: Hypothesis, axes: ChangedAxes, final: FunctionCall
) -> bool:
    """Whether samples meet what are none. A layer takes maps that were flattened, and
    features of a layer are as good as those of data: they are added to each other, and
    held against each other by losses. Of what was put in its place by dimensions of
    size 1, and is shifted to another, it has to be known."""
    for meeting in meetings(final):
        weighted = any(case.graph.is_parameter(ref.id) for ref, _ in meeting)
        told = [_counted(case, axes, ref, dim) for ref, dim in meeting]
        known = [one for one in told if one is not None]
        if len(known) < len(told) and _shifts(case, hypothesis):
            return True
        if weighted and any(True in one for one in known):
            return len(known) > 1
        if not weighted and any(a != b for a, b in combinations(known, 2)):
            return True
    return False


def _shifts(case: Case, hypothesis: Hypothesis) -> bool:
    """Whether an edit shifts a dimension of an operand that has as many dimensions as
    the other one, entry by entry, by dropping a 1 behind it."""
    edit, repair, call = hypothesis.edit, hypothesis.repair, case.call
    if edit is None or repair is None or not is_elementwise(call.name):
        return False
    if len({len(ref.shape) for ref in call.inputs}) != 1:
        return False
    for taken in repair.taken:
        before = case.graph.tensors[taken.tensor].shape
        made = made_of(edit, before) or []
        for at, own in enumerate(made):
            if len(own) == 1 and len(made) - at != len(before) - own[0]:
                return True
    return False


def _counted(
    case: Case, axes: Axes, ref: TensorRef, dim: int
) -> tuple[bool, ...] | None:
    """Of each factor of a dimension, those of one origin together, whether it counts
    samples; None where that is not known for all of them."""
    found = [axis for axis in axes.of(ref.id, dim) if axis.size > 1]
    if prod(axis.size for axis in found) != ref.shape[dim]:
        return None
    parts: list[bool] = []
    before = None
    for axis in found:
        kinds = {_kind(case, one) for one in axis.roots}
        if len(kinds) != 1 or "other" in kinds or not axis.sure:
            return None
        if axis.roots != before:
            parts.append("batch" in kinds)
        before = axis.roots
    return tuple(parts)


def _kind(case: Case, begin: Root) -> str:
    """Whether a dimension that begins so counts samples, what else data has, or a
    layer's features."""
    kind, tensor, dim = begin
    if kind == "parameter":
        return "width"
    if kind != "data":
        return "other"
    shape = case.graph.tensors[tensor].shape
    if dim == len(shape) - 1 and shape[-2:] == (shape[-1],) * 2:
        return "other"  # neighbours in a graph, or features as many as there are rows
    return root(case.graph, tensor, dim)[0]


def _pair_all(case: Case, axes: ChangedAxes, final: FunctionCall) -> bool:
    """Whether each sample meets every other, which it did not before."""

    def most(axes: Axes, call: FunctionCall | ModuleCall) -> int:
        counted = (
            sum(
                any(
                    axis.size > 1 and _kind(case, begin) == "batch"
                    for axis in axes.of(ref.id, dim)
                    for begin in axis.roots
                )
                for dim in range(len(ref.shape))
            )
            for ref in call.inputs
        )
        return max(counted, default=0)

    return most(axes, final) > max(1, most(case.replay.axes, case.call))


def _are_lost(case: Case, axes: ChangedAxes, final: FunctionCall) -> bool:
    """Whether the samples of an operand are added up, or taken together otherwise."""
    left: set[Root] = set()
    for ref in final.inputs:
        if not all(axes.sure(ref.id, dim) for dim in range(len(ref.shape))):
            return False
        left |= _samples(case, axes, ref)
    before = (ref for ref in case.call.inputs if not case.graph.is_parameter(ref.id))
    counted = [_samples(case, case.replay.axes, ref) for ref in before]
    return any(one and not one & left for one in counted)


def _samples(case: Case, axes: Axes, ref: TensorRef) -> set[Root]:
    """Where the dimensions of a tensor that count samples begin."""
    return {
        begin
        for dim in range(len(ref.shape))
        for axis in axes.of(ref.id, dim)
        if axis.size > 1
        for begin in axis.roots
        if _kind(case, begin) == "batch"
    }


def _are_classes(case: Case, axes: ChangedAxes, final: FunctionCall) -> bool:
    """Whether the classes of a loss are put together of two dimensions: logits of
    (32, 2, 96) as 192 classes."""
    known = loss(final.name)
    if known is None or known.class_dim is None or case.target is None:
        return False
    if case.target.dtype.is_floating_point or len(final.inputs[0].shape) < 2:
        return False
    parts = [a for a in axes.of(final.inputs[0].id, known.class_dim) if a.size > 1]
    return len({axis.roots for axis in parts}) > 1
