"""The proposals of the earlier rules, as hypotheses like all others."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Site
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.rules.fixes import candidates
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.records import Culprit, FunctionCall

#: proposals of one failure that are looked at
_MOST = 60


def ruled(case: Case) -> Iterator[Hypothesis | None]:
    """Whom the rules name, and what they propose."""
    for culprit in case.named_by_rules:
        yield Hypothesis(
            "unknown",
            _site(case, culprit),
            reason=culprit.reason,
            dim=culprit.dim,
            size=culprit.size,
            expected=culprit.expected,
        )
    desk = Desk(case.graph, case.mismatch, case.named_by_rules)
    for number, candidate in enumerate(candidates(desk)):
        if number >= _MOST:
            return
        yield _hypothesis(case, candidate)


def _hypothesis(case: Case, candidate: Candidate) -> Hypothesis | None:
    repair = candidate.repair
    form: Form = "unknown"
    if repair is not None:
        form = "insert" if repair.taken else "width" if repair.modules else "exchange"
    site = _about(case, candidate)
    if site is None:
        return None
    edits = [taken.edit for taken in repair.taken] if repair is not None else []
    if any(edit.cuts is not None for edit in edits):
        form = "cut"
    return Hypothesis(
        form,
        site,
        repair,
        0,
        candidate.line,
        candidate.where,
        "; ".join(part for part in (candidate.detail, candidate.ahead) if part),
        edits[0].loses if edits else "",
        once=candidate.once,
        edit=edits[0] if len(edits) == 1 and edits[0].text else None,
        ruled=True,
    )


def _about(case: Case, candidate: Candidate) -> Site | None:
    """Whom a proposal corrects: a culprit that the rules name, or a module."""
    for culprit in case.named_by_rules:
        if candidate.about in (f"{culprit.kind}:{culprit.name}", culprit.kind):
            return _site(case, culprit)
    kind, _, name = candidate.about.partition(":")
    if kind == "module":
        return case.site_named(name)
    if kind == "function" and name == case.call.name:
        return site_of_call(case.graph, case.call)
    for behind in case.behind:
        call = behind.call
        if isinstance(call, FunctionCall) and kind == "function" and call.name == name:
            return site_of_call(case.graph, call)
    refs = case.operands
    if kind == "target" and case.target is not None:
        return case.site_of(case.target.id)
    return case.site_of(refs[0].id) if refs else None


def _site(case: Case, culprit: Culprit) -> Site:
    """The site of a culprit, the same as other generators give it."""
    if culprit.kind == "module":
        return case.site_named(culprit.name)
    if culprit.kind == "function":
        place = (culprit.name, culprit.source)
        return Site("function", culprit.name, place, culprit.source)
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
