"""Whom the earlier rules name, as hypotheses like all others."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis, Site
from shapetrace.diagnosis.sites import site_of_data
from shapetrace.records import Culprit


def ruled(case: Case) -> Iterator[Hypothesis | None]:
    """Whom the rules name; what would mend it is for other generators to say."""
    for culprit in case.named_by_rules:
        yield Hypothesis(
            "unknown",
            _site(case, culprit),
            reason=culprit.reason,
            dim=culprit.dim,
            size=culprit.size,
            expected=culprit.expected,
        )


def _site(case: Case, culprit: Culprit) -> Site:
    """The site of a culprit, the same as other generators give it."""
    if culprit.kind == "module":
        return case.site_named(culprit.name)
    if culprit.kind == "function":
        place = (culprit.name, culprit.source)
        return Site("function", culprit.name, place, culprit.source)
    if culprit.kind == "target" and case.target is not None:
        site = site_of_data(case.graph, case.target.id, target=True)
        if site.name == culprit.name:
            return site
    for ref in case.operands:
        site = case.site_of(ref.id)
        if site.kind == culprit.kind and site.name == culprit.name:
            return site
    for behind in case.behind:
        for ref in behind.call.inputs:
            if case.graph.producer(ref.id) is None:
                site = case.site_of(ref.id)
                if site.kind == culprit.kind and site.name == culprit.name:
                    return site
    return Site(culprit.kind, culprit.name, culprit.name, culprit.source)
