"""Whom the earlier rules name for such a failure."""

from __future__ import annotations

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis

_PLACES = ("first", "second", "third")


def ruled(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """The place of the site among those that the rules name."""
    site = hypothesis.site
    for place, culprit in zip(_PLACES, case.named_by_rules):
        if (culprit.kind, culprit.name) == (site.kind, site.name):
            if culprit.kind != "function" or culprit.source == site.source:
                return Fact(f"named {place} by the rules")
    return Fact("not named by the rules") if case.named_by_rules else None
