"""What an earlier batch says that went through the same line."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis, Site
from shapetrace.diagnosis.patterns.kept_state import kept_by_model, kept_state
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.records import FunctionCall

#: a layer that took the batches before is as it was meant to be
TOOK_IT = "the layer took an earlier batch"
_REBUILT = ("width", "intake", "parameter", "setting", "window")


def history(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A number that stayed while the data changed; a layer that took it all before."""
    site = hypothesis.site
    if hypothesis.form in _REBUILT and kept_state(case) is not None:
        return Fact(TOOK_IT)
    kept = kept_by_model(case)
    if kept is not None and site_of_call(case.graph, kept.made).key == site.key:
        text = f"the {kept.size} is kept from an earlier batch ({kept.made.source})"
        return Fact("kept from an earlier batch", text=text)
    if kept is not None and site.kind in ("input", "target"):
        return Fact("meets what is kept from an earlier batch")
    good = case.earlier
    if good is None:
        return None
    if good.culprit is not None and site.key in _sites(case, good.culprit):
        text = f"still has the {good.value} of the batch before"
        return Fact("stayed when the data changed", text=text)
    if site.kind in ("input", "target") and _same_as_before(case, site):
        text = "it is the very tensor of the batch before"
        return Fact("stayed when the data changed", text=text)
    if site.kind in ("input", "target"):
        return None
    if hypothesis.form in _REBUILT or site.kind == "module":
        return Fact(TOOK_IT)
    return Fact("went well with an earlier batch")


def _sites(case: Case, call: FunctionCall) -> set[object]:
    """What a call is blamed as: itself, or the data that it made."""
    made = {case.site_of(ref.id).key for ref in call.outputs or ()}
    return made | {site_of_call(case.graph, call).key}


def _same_as_before(case: Case, site: Site) -> bool:
    """Whether the call that went well in an earlier batch took this very tensor, where
    another that it took is not the same any more."""
    good = case.earlier
    then = {ref.id for ref in good.call.inputs} if good is not None else set()
    now = [ref for ref in case.call.inputs if not case.graph.is_parameter(ref.id)]
    kept = [ref for ref in now if ref.id in then]
    return len(kept) < len(now) and any(
        case.site_of(ref.id).key == site.key for ref in kept
    )
