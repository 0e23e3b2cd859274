"""Pure walks over a recording: who made a tensor, and where a size comes from."""

from __future__ import annotations

from shapetrace.lineage.graph import Graph
from shapetrace.lineage.hops import Call, End, Hop, Trail
from shapetrace.lineage.pairs import Change, GoodBatch, against, last_good
from shapetrace.lineage.steps import describe, fold, make_step, steps

__all__ = [
    "Call",
    "Change",
    "End",
    "GoodBatch",
    "Graph",
    "Hop",
    "Trail",
    "against",
    "describe",
    "fold",
    "last_good",
    "make_step",
    "steps",
]
