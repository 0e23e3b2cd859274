"""Tables that a module holds (positions, masks), and of which more is asked than there
is: Python cuts a slice short without a word."""

from __future__ import annotations

from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.layout import root
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.sites import owner, shaped_at, site_of_call
from shapetrace.records import FunctionCall


def cut_short(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a table has too few entries, or is cut by the number of samples."""
    for spot, other in zip(case.mismatch.spots, reversed(case.mismatch.spots)):
        made = None
        if spot.tensor is not None:
            made = case.graph.producer(shaped_at(case.graph, spot.tensor))
        if not isinstance(made, FunctionCall) or made.name != "getitem":
            continue
        if not made.inputs or not case.graph.is_parameter(made.inputs[0].id):
            continue
        if other.tensor is None or other.dim is None or other.size not in _stops(made):
            continue
        if other.size <= spot.size:
            continue
        samples = root(case.graph, other.tensor, other.dim)[0] == "batch"
        site = hypothesis.site
        if site.key == site_of_call(case.graph, made).key:
            return Fact("cuts a table by the batch" if samples else "cuts a table")
        if site.kind == "module" and site.name == owner(case.graph, made.inputs[0].id):
            if samples:  # of a larger table as many rows would mean nothing
                return Fact("is cut by the batch")
            text = f"{other.size} are asked of its {spot.size}"
            return Fact("holds fewer than are asked for", text=text)
        return Fact("is not the table that is cut short")
    return None


def _stops(call: FunctionCall) -> set[Any]:
    """The ends of the slices that a tensor is indexed by."""
    index = call.args[1] if len(call.args) > 1 else ()
    parts = index if isinstance(index, (tuple, list)) else (index,)
    return {part.stop for part in parts if isinstance(part, slice)}
