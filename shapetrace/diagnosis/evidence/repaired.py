"""What a repaired program would do with its dimensions, wherever the change is made."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.layout import kind_of, repaired
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.lineage.dimensions import Axes
from shapetrace.lineage.factors import Root
from shapetrace.records import TensorRef

#: what the failing call takes would have no dimension of samples left
LOST = "no sample stays by itself"
#: a view deals out the dimensions in another order, or cuts across them
SCRAMBLED = "a view mixes dimensions then"


def added_up(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether what a layer gives for each class or feature would be taken together
    before a loss, as no layer is built to give it."""
    if hypothesis.form != "reduce" or hypothesis.site.kind != "module":
        return None
    return Fact("takes a layer's outputs together") if case.mismatch.loss else None


def lost(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether samples are added up, or taken together otherwise, that were apart."""
    found = repaired(hypothesis, case)
    if found is None:
        return None
    axes, final = found
    left: set[Root] = set()
    for ref in final.inputs:
        if not all(axes.sure(ref.id, dim) for dim in range(len(ref.shape))):
            return None
        left |= _samples(case, axes, ref)
    for ref in case.call.inputs:
        counted = _samples(case, case.replay.axes, ref)
        if counted and not counted & left and not case.graph.is_parameter(ref.id):
            return Fact(LOST)
    return None


def _samples(case: Case, axes: Axes, ref: TensorRef) -> set[Root]:
    """Where the dimensions of a tensor that count samples begin."""
    return {
        begin
        for dim in range(len(ref.shape))
        for axis in axes.of(ref.id, dim)
        if axis.size > 1
        for begin in axis.roots
        if kind_of(case, begin) == "batch"
    }


def scrambled(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a view that was in order no longer is, or one that is put in is not."""
    after = repaired(hypothesis, case)
    if after is None:
        return None
    axes, _ = after
    before = {one.call.index for one in case.replay.axes.scrambles}
    before |= {call.index for call in case.replay.axes.tears}
    found = {one.call.index for one in axes.scrambles if one.sure}
    found |= {call.index for call in axes.tears}
    return Fact(SCRAMBLED) if found - before else None
