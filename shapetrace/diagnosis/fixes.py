"""Lines to paste: proposed from the kind of clash, tried, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shapetrace.diagnosis.desk import Candidate, Desk
from shapetrace.diagnosis.fixes_function import for_function
from shapetrace.diagnosis.fixes_layer import for_layer
from shapetrace.diagnosis.fixes_loss import for_loss
from shapetrace.diagnosis.problem import Problem
from shapetrace.diagnosis.tryout import Outcome, Repair, Trial
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, Fix

_MOST = 4
_RANK = {"verified": 0, "untried": 1, "moved": 2}


def propose(
    graph: Graph, problem: Problem, culprits: tuple[Culprit, ...]
) -> tuple[Fix, ...]:
    """At most four lines, verified ones first and then in the culprits' order. A line
    with which the call would still fail is left out."""
    desk = Desk(graph, problem, culprits)
    trial = Trial(graph, problem)
    order = [_spelled(culprit) for culprit in culprits]
    found: list[tuple[tuple[int, int, int], Fix]] = []
    seen: set[str] = set()
    found_once: set[str] = set()
    for number, candidate in enumerate(_candidates(desk)):
        if candidate.line in seen or candidate.once in found_once:
            continue
        seen.add(candidate.line)
        repair = candidate.repair
        outcome = Outcome("untried") if repair is None else trial.run(repair)
        if outcome is None or (outcome.status == "moved" and repair and repair.edits):
            continue  # another shape of the data that then fails elsewhere is no help
        if outcome.status == "untried" and repair and candidate.about not in order:
            continue  # a guess at what nobody blames
        if outcome.status == "moved" and _to_itself(repair, outcome.detail):
            continue
        if candidate.once and outcome.status != "verified":
            continue
        if candidate.ahead and outcome.status == "verified":
            outcome = Outcome("moved", candidate.ahead)
        if candidate.once:
            found_once.add(candidate.once)
        place = len(order) + bool(repair and repair.modules)
        if candidate.about in order:
            place = order.index(candidate.about)
        if candidate.strong:
            place = -1
        detail = "; ".join(part for part in (candidate.detail, outcome.detail) if part)
        fix = Fix(candidate.line, outcome.status, detail, candidate.where)
        found.append(((_RANK[outcome.status], place, number), fix))
    found.sort(key=lambda entry: entry[0])
    if found and found[0][1].status == "verified":
        # what goes through needs no company of what fails elsewhere, nor of guesses at
        # modules that nobody blames
        last = max(found[0][0][1], len(order))
        found = [
            (key, fix) for key, fix in found if fix.status != "moved" and key[1] <= last
        ]
    return tuple(fix for _, fix in found[:_MOST])


def _to_itself(repair: Repair | None, detail: str) -> bool:
    """A module rebuilt that would fail in another of its own calls: it is called with
    both sizes, and no width of its own is right."""
    names = repair.modules if repair is not None else ()
    return any(detail.startswith(f"then {name} expects") for name in names)


def _candidates(desk: Desk) -> Iterator[Candidate]:
    """All proposals; one that cannot be worked out costs no other."""
    problem = desk.problem
    makers: list[Callable[[Desk], Iterable[Candidate | None]]] = [for_function]
    if problem.loss:
        makers = [for_loss, for_function]
    elif problem.layer is not None:
        makers = [for_layer]
    for maker in makers:
        try:
            for candidate in maker(desk):
                if candidate is not None:
                    yield candidate
        except Exception:  # odd records: the other proposals still stand
            continue


def _spelled(culprit: Culprit) -> str:
    if culprit.kind in ("target", "input"):
        return culprit.kind
    return f"{culprit.kind}:{culprit.name}"
