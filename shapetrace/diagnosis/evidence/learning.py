"""Which networks learn here: one that is run under `no_grad` beside one that is not is
used as it was trained, and whoever writes the other has to fit it."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.once import once
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall

#: the only changes that are none of a network
_OF_DATA = ("data", "unknown")


def learning(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a change is made within a network that does not learn, where another
    behind the failure does."""
    site = hypothesis.site
    call: Call | None = case.call_of(site)
    if site.kind == "module":
        call = next(iter(case.replay.calls_of.get(site.name, ())), None)
    if call is None or call.parent is None and isinstance(call, FunctionCall):
        return None
    if hypothesis.form in _OF_DATA or _learns(case, call):
        return None
    within = [behind.call for behind in case.behind if behind.call.parent is not None]
    if any(_learns(case, other) for other in within):
        return Fact(
            "is used as it was trained",
            text="it runs under `no_grad`, as a network that is not trained here",
        )
    return None


def _learns(case: Case, call: Call) -> bool:
    """Whether a call was made with autograd switched on."""
    if isinstance(call, FunctionCall):
        return call.grad
    return call.index not in _without_grad(case)


@once
def _without_grad(case: Case) -> set[int]:
    """The module calls in which functions ran under `no_grad`."""
    rec = case.graph.rec
    found = {
        call.parent
        for call in rec.functions
        if not call.grad and call.parent is not None
    }
    for call in reversed(rec.calls):  # what is within stands behind
        if call.index in found and call.parent is not None:
            found.add(call.parent)
    return found
