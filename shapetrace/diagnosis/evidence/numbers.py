"""A number that somebody wrote, or handed on, for the size of a batch."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.sizes.factory_size import takes_shape
from shapetrace.diagnosis.sizes.leaves import Leaf, counts_samples, every_part
from shapetrace.records import FunctionCall


def numbers(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Who was given a number where the other side has the samples: `eye(8)` for batches
    of 4 was made for others."""
    size = _given_for_samples(case).get(hypothesis.site.key)
    if size is None:
        return None
    text = f"its {size} is a number, and the other side has the samples"
    return Fact("a number meets the samples", text=text)


@once
def _given_for_samples(case: Case) -> dict[object, int]:
    """The sites that were given all of one side's size as numbers where the other side
    has the samples, with the first of these."""
    left, right = case.mismatch.left, case.mismatch.right
    found: dict[object, int] = {}
    for spot, other in ((left, right), (right, left)):
        fixed, samples = _parts(case, spot), _parts(case, other)
        counted = [
            leaf for leaf in samples if counts_samples(case.graph, leaf.hops, leaf.end)
        ]
        given = [leaf for leaf in fixed if _given(case, leaf)]
        if not counted or not given or len(given) < len(fixed):
            continue
        for leaf in given:
            found.setdefault(case.site_of(leaf.end.tensor).key, given[0].size)
    return found


def _parts(case: Case, spot: Spot | None) -> list[Leaf]:
    if spot is None or spot.tensor is None or spot.dim is None:
        return []
    if case.graph.is_parameter(spot.tensor):
        return []
    return list(every_part(case.graph, spot.tensor, spot.dim))


def _given(case: Case, leaf: Leaf) -> bool:
    """Whether a size is a number among the arguments of a call that makes a tensor,
    and not the number of samples in data that was made so."""
    made = leaf.end.call
    if leaf.end.kind not in ("data", "argument") or leaf.end.dim < 0:
        return False
    if not isinstance(made, FunctionCall) or made.index < 0:
        return False
    if leaf.end.dim == 0 and case.site_of(leaf.end.tensor).kind != "function":
        return False
    return not made.inputs or takes_shape(made)
