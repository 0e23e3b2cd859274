"""What a loss that is written out does with class indices."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.patterns.class_indices import met_in_loss, numbers_of

#: the numbers of classes are names: no sum of them means anything
RECKONS = "reckons with class indices"


def class_indices(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a change makes rows of them, or goes on to reckon with their numbers."""
    taken = hypothesis.repair.taken if hypothesis.repair is not None else ()
    for labels, _ in met_in_loss(case):
        found = numbers_of(case.graph, labels)
        own = {labels.id, found[0].id if found is not None else labels.id}
        if any(one.tensor in own for one in taken):
            if hypothesis.form == "values":
                return Fact("a row for each class index")
            return Fact(RECKONS)
    return None
