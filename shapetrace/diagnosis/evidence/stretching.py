"""What an edit lets torch stretch: two operands, each to the other."""

from __future__ import annotations

from shapetrace.diagnosis.called_again import with_inputs
from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.signatures import broadcasts

#: every entry of one would meet every entry of the other
PAIRS = "stretches both sides"


def stretching(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the call goes through only because each side is stretched to the other,
    which is meant where it is written for both, and not what one missing dimension is.
    """
    edit, repair = hypothesis.edit, hypothesis.repair
    if edit is None or repair is None or case.layer is not None:
        return None
    taken = {one.tensor for one in repair.taken}
    inputs = tuple(
        edit.apply(ref) if ref.id in taken else ref for ref in case.call.inputs
    )
    if inputs == case.call.inputs:
        return None
    found = broadcasts(with_inputs(case.call, inputs))
    sides = {position for position, _, size in found if size > 1}
    return Fact(PAIRS) if len(sides) > 1 else None
