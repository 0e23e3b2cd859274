"""All that could have been meant by a failing call, the likeliest first."""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.diagnosis.generate import generate
from shapetrace.diagnosis.rank import Scored, Suspect, scored, suspects, tried
from shapetrace.lineage import Graph


class Considered(NamedTuple):
    case: Case
    scored: list[Scored]
    suspects: list[Suspect]


def consider(graph: Graph, mismatch: Mismatch) -> Considered:
    """Think of everything, try it, ask the evidence, rank."""
    case = Case(graph, mismatch)
    entries = scored(case, tried(case, generate(case)))
    return Considered(case, entries, suspects(entries))
