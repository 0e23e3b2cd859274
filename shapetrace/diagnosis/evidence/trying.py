"""What came of trying a repair, and what it costs."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis


def tried_form(hypothesis: Hypothesis, case: Case) -> Fact:
    """The same for each form: that a cut fits says less than that a width does."""
    return Fact(f"{hypothesis.form} {trying(hypothesis, case).name}")


def trying(hypothesis: Hypothesis, case: Case) -> Fact:
    """Whether the failing call goes through, and what comes after it."""
    outcome = hypothesis.outcome
    if hypothesis.repair is None or outcome is None:
        return Fact("cannot be tried")
    held = hypothesis.repair.holds_values and hypothesis.edit is not None
    if case.mismatch.kind == "range" and outcome.goes and not held:
        # more classes hold any index: that shows nothing
        return Fact("cannot be tried")
    if outcome.broke:
        return Fact("breaks another call", text=outcome.detail)
    if outcome.status == "untried" and outcome.detail:
        return Fact("what follows may not take it", text=outcome.detail)
    status: str = outcome.status
    if status == "untried" and outcome.goes:
        status = "goes through"
    if hypothesis.loses and status in ("verified", "goes through"):
        return Fact("fits with a loss")  # what is thrown away nearly always lets it fit
    return Fact(status)


def cost(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """What is lost with a change, or how much of the program it touches."""
    if hypothesis.loses:
        return Fact("loses something", text=f"it loses {hypothesis.loses}")
    if not hypothesis.line:
        return Fact("has no line")
    return None
