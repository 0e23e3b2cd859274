"""What does not go in evenly, or goes in by chance: a map of 14 cut into windows of 12,
a column that meets a row."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.uneven import cut_with_a_rest, makes_a_square
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.sites import site_of_call


def rests(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a call that leaves a rest is the suspect."""
    found = cut_with_a_rest(case.call)
    if found is None:
        return None
    size, part = found
    if hypothesis.site.key == site_of_call(case.graph, case.call).key:
        text = f"cuts {size} into parts of {part}, which leaves {size % part}"
        return Fact("leaves a rest", text=text)
    return Fact("another call leaves a rest")


def squared(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the suspect makes a square of a column and a row, without a word."""
    call = case.call_of(hypothesis.site)
    square = (
        makes_a_square(call) if call is not None and call is not case.call else None
    )
    if square is None:
        return None
    text = f"stretches both {square[0]} and {square[1]}"
    return Fact("stretches both operands", text=text)
