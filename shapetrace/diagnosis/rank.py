"""The likeliest first: scores of hypotheses, sites, culprits and fixes.

A hypothesis scores the weighted sum of its evidence (log-odds up to a constant), a
site the log-sum of the best of each form; its probability is its share of all.
Culprits are the best sites, fixes the best hypotheses that have a line to paste.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import exp, log, prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence import Fact, evidence
from shapetrace.diagnosis.hypothesis import Hypothesis, Outcome, Site
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.diagnosis.weights import WEIGHTS


@dataclass(frozen=True, slots=True)
class Scored:
    """A hypothesis with what speaks for and against it."""

    hypothesis: Hypothesis
    facts: tuple[Fact, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A site with its hypotheses, the best first, and how likely it is."""

    site: Site
    scored: tuple[Scored, ...]
    probability: float


def tried(case: Case, hypotheses: Iterable[Hypothesis]) -> list[Hypothesis]:
    """The hypotheses that may help: those with which the call would fail all the same
    are gone, and of each that stands for others the first that holds is kept."""
    found: list[Hypothesis] = []
    seen: set[object] = set()
    once: set[str] = set()
    for one in hypotheses:
        if one.once in once:
            continue
        key = (one.form, one.site.kind, one.site.name, one.line or one.words, one.where)
        same = _rearranged(case, one)
        if key in seen or same is not None and same in seen:
            continue
        seen |= {key, same}
        outcome: Outcome | None = one.outcome
        if outcome is None:
            outcome = Outcome("untried")
            if one.repair is not None:
                outcome = case.replay.start(one.repair)
        if one.repair is not None:
            outcome = case.replay.read(one.repair, outcome, one.line, one.where)
        if outcome is None:
            continue
        if one.once:
            if not outcome.goes:
                continue
            once.add(one.once)
        found.append(replace(one, outcome=outcome))
    return found


def _rearranged(case: Case, one: Hypothesis) -> object:
    """What becomes of a tensor's dimensions with an edit that gives them another order,
    or puts some of size 1 among: `x[:, None]` and `x.unsqueeze(1)` are one thought.
    None for all others."""
    if one.edit is None or one.repair is None or len(one.repair.taken) != 1:
        return None
    ref = case.graph.tensors[one.repair.taken[0].tensor]
    dims = made_of(one.edit, ref.shape)
    if dims is None or any(len(each) > 1 for each in dims) or one.edit.values:
        return None
    made = one.edit.apply(ref).shape
    if prod(made) != prod(ref.shape):
        return None
    return (one.form, one.site.key, ref.id, tuple(dims), one.where)


def scored(case: Case, hypotheses: Iterable[Hypothesis]) -> list[Scored]:
    """Each hypothesis with its evidence, the best first."""
    found = []
    for one in hypotheses:
        facts = evidence(one, case)
        score = sum(WEIGHTS.get(fact.name, 0.0) * fact.strength for fact in facts)
        found.append(Scored(one, facts, score))
    return sorted(found, key=lambda entry: -entry.score)


def suspects(entries: Iterable[Scored]) -> list[Suspect]:
    """The sites, the likeliest first."""
    groups: dict[object, list[Scored]] = {}
    for entry in entries:
        groups.setdefault(entry.hypothesis.site.key, []).append(entry)
    sums = {key: _log_sum(_counted(group)) for key, group in groups.items()}
    if not sums:
        return []
    total = _log_sum(sums.values())
    order = sorted(groups, key=lambda key: -sums[key])
    return [
        Suspect(
            groups[key][0].hypothesis.site, tuple(groups[key]), exp(sums[key] - total)
        )
        for key in order
    ]


def _counted(group: Iterable[Scored]) -> list[float]:
    """The scores of a site's hypotheses, the best first, each form once: that a `cat`
    could work on one of three other dimensions is one thought."""
    found: dict[str, float] = {}
    for entry in group:
        found.setdefault(entry.hypothesis.form, entry.score)
    return list(found.values())


def _log_sum(scores: Iterable[float]) -> float:
    values = list(scores)
    most = max(values)
    return most + log(sum(exp(value - most) for value in values))
