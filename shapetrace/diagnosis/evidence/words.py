"""What PyTorch's own message speaks of, where shapes do not tell: labels, what a module
returned, a type or device that the rest of the model has not."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import named_arguments
from shapetrace.diagnosis.detection.unlike import at_home
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.python_errors.returned import returned
from shapetrace.diagnosis.sites import owner


def words(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A message about labels is about the target, one about a type about what
    returned it, and of one that names an argument about that."""
    error = case.call.error
    if case.mismatch.kind != "other" or error is None:
        return None
    site, said = hypothesis.site, error.message.lower()
    named = site.kind == "target" and ("target" in said or "label" in said)
    around = case.graph.module_of(case.layer or case.call)
    for giver in returned(case.graph, around, error.message):
        named = named or (site.kind, site.name) == (giver.kind, giver.name)
    named = named or any(
        case.site_of(ref.id).key == site.key for ref in named_arguments(case.call)
    )
    return Fact("the message names it" if named else "the message names others")


def home(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether what would be cast or moved is as the rest of the model is."""
    kind = case.mismatch.kind
    if kind not in ("dtype", "device"):
        return None
    tensors = [spot.tensor for spot in case.mismatch.spots]
    if hypothesis.repair is not None and hypothesis.repair.taken:
        tensors = [taken.tensor for taken in hypothesis.repair.taken]
    elif hypothesis.site.kind == "module":
        name = hypothesis.site.name
        held = [t for t in tensors if t is not None and owner(case.graph, t) == name]
        if not held:
            return None
        tensors = [*held]
    else:
        return None
    settled = any(at_home(case.graph, t, kind) for t in tensors)
    return Fact("is as the model is" if settled else "is unlike the model")
