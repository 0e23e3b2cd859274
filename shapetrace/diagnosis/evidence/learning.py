"""Which networks learn here: one that is run under `no_grad` beside one that is not is
used as it was trained, and whoever writes the other has to fit it."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall
from shapetrace.signatures import loss as facts_of

#: the only changes that are none of a network
_OF_DATA = ("data", "unknown")


#: a loss whose sides differ, the data in the place of what is learnt
REVERSED = "the loss takes data for its prediction"


def turned_round(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a loss was given data as its prediction and a model's output as its
    target, `vae_loss(x, x_hat)` for `vae_loss(x_hat, x)`: with another shape it goes
    through and learns something else. A loss that takes values of any kind is the same
    either way round."""
    known, graph = facts_of(case.call.name), case.graph
    given, target = case.prediction, case.target
    if known is None or known.takes == "values" or given is None or target is None:
        return None
    if graph.from_model(given.id) or not graph.from_model(target.id):
        return None
    return Fact(REVERSED, text="the model's output stands where the target belongs")


def learning(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a change is made within a network that does not learn, where another
    behind the failure does."""
    site = hypothesis.site
    call: Call | None = case.call_of(site)
    if site.kind == "module":
        call = next(iter(case.replay.calls_of.get(site.name, ())), None)
    if call is None or call.parent is None and isinstance(call, FunctionCall):
        return None
    if hypothesis.form in _OF_DATA or case.learns(call):
        return None
    within = [behind.call for behind in case.behind if behind.call.parent is not None]
    if any(case.learns(other) for other in within):
        return Fact(
            "is used as it was trained",
            text="it runs under `no_grad`, as a network that is not trained here",
        )
    return None
