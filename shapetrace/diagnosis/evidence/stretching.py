"""What a repair lets torch stretch: two operands, each to the other."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.records import FunctionCall
from shapetrace.signatures import broadcasts

#: every entry of one would meet every entry of the other
PAIRS = "stretches both sides"


def stretching(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the call goes through only because each side is stretched to the other,
    which is meant where it is written for both, and not what one missing dimension is.
    """
    repair = hypothesis.repair
    if repair is None or case.layer is not None:
        return None
    final = case.replay.final(repair)
    if final is None:
        return None
    return Fact(PAIRS) if _both(final) and not _both(case.call) else None


def _both(call: FunctionCall) -> bool:
    return len({position for position, _, size in broadcasts(call) if size > 1}) > 1
