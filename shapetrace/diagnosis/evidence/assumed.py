"""What a program took for granted without saying so."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis


def squeezed(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the suspect is a squeeze that took nothing away, or whether one would
    still take nothing with the repair."""
    spots = case.assumed
    if not spots:
        return None
    call = case.call_of(hypothesis.site)
    if call is not None and call.name == "squeeze":
        size = next((s.size for s, _ in spots if s.tensor == call.inputs[0].id), None)
        if size is not None:
            text = f"it takes nothing away: that dimension is {size}, not 1"
            return Fact("takes nothing away", text=text)
    if hypothesis.repair is None:
        return None
    for spot, size in spots:
        now = spot.tensor and case.replay.tensor(hypothesis.repair, spot.tensor)
        if now and spot.dim is not None:
            if now.shape[spot.dim : spot.dim + 1] == (size,):
                return None
    return Fact("a squeeze still takes nothing")
