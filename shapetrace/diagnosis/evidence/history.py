"""What an earlier batch says that went through the same line."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.kept_state import kept_state

#: a layer that took the batches before is as it was meant to be
TOOK_IT = "the layer took an earlier batch"
_REBUILT = ("width", "intake", "parameter", "setting", "window")


def history(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A number that stayed while the data changed; a layer that took it all before."""
    site = hypothesis.site
    if hypothesis.form == "cut" and hypothesis.repair is None:
        if kept_state(case) is not None:
            return Fact("the state is of an earlier batch")
    if hypothesis.form in _REBUILT and kept_state(case) is not None:
        return Fact(TOOK_IT)
    good = case.earlier
    if good is None:
        return None
    if good.culprit is not None and site.kind == "function":
        if site.name == good.culprit.name and site.source == good.culprit.source:
            text = f"still has the {good.value} of the batch before"
            return Fact("stayed when the data changed", text=text)
    if site.kind in ("input", "target"):
        return Fact("the data changed since a batch that went well")
    if hypothesis.form in _REBUILT:
        return Fact(TOOK_IT)
    return None
