"""What a repair lets torch stretch: two operands, each to the other."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.kind import BEFORE
from shapetrace.diagnosis.evidence.layout import root
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.records import FunctionCall
from shapetrace.signatures import broadcasts, is_elementwise

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
    if _both(final) and not _both(case.call):
        return Fact(PAIRS)
    return Fact(BEFORE) if _moves_samples(hypothesis, case, final) else None


def _moves_samples(hypothesis: Hypothesis, case: Case, final: FunctionCall) -> bool:
    """Whether what is edited then has fewer dimensions than the tensor that it meets,
    so that its samples meet another dimension of that than the first."""
    edit, repair = hypothesis.edit, hypothesis.repair
    if edit is None or repair is None or not is_elementwise(final.name):
        return False
    most = max((len(ref.shape) for ref in final.inputs), default=0)
    taken = {one.tensor for one in repair.taken}
    return any(
        1 < len(ref.shape) < most
        and ref.id in taken
        and ref.shape[0] > 1
        and len(case.graph.tensors[ref.id].shape) >= most
        and root(case.graph, ref.id, 0)[0] == "batch"
        for ref in final.inputs
    )


def _both(call: FunctionCall) -> bool:
    return len({position for position, _, size in broadcasts(call) if size > 1}) > 1
