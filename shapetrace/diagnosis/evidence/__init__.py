"""Evidence: what speaks for and against a hypothesis, in families that each count once.

A function of a family takes a hypothesis and its case, and gives the strongest that
it has to say, or nothing: the name that its weight stands under, a strength, and a
clause for the reader. Nothing here decides, and nobody parses another's words.
"""

from __future__ import annotations

from collections.abc import Callable

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.assumed import squeezed
from shapetrace.diagnosis.evidence.class_indices import class_indices
from shapetrace.diagnosis.evidence.data import data, picture, taken
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.history import history
from shapetrace.diagnosis.evidence.kind import change, distance, kind, order, place
from shapetrace.diagnosis.evidence.layout import elsewhere, layout, made_for_it
from shapetrace.diagnosis.evidence.learning import learning
from shapetrace.diagnosis.evidence.likes import likes, rounding, twin, waiting
from shapetrace.diagnosis.evidence.neighbours import neighbours
from shapetrace.diagnosis.evidence.numbers import numbers
from shapetrace.diagnosis.evidence.program import attribute, mirror, program, read_off
from shapetrace.diagnosis.evidence.rests import rests, squared
from shapetrace.diagnosis.evidence.samples import (
    edited,
    mixed,
    reduced,
    restored,
    summed,
    unasked,
)
from shapetrace.diagnosis.evidence.sides import (
    began_alike,
    joined,
    merged,
    only_passed,
    several,
    sides,
)
from shapetrace.diagnosis.evidence.stretching import stretching
from shapetrace.diagnosis.evidence.tables import cut_short
from shapetrace.diagnosis.evidence.trying import cost, tried_form, trying
from shapetrace.diagnosis.evidence.words import home, words
from shapetrace.diagnosis.hypothesis import Hypothesis

Family = Callable[[Hypothesis, Case], Fact | None]

FAMILIES: tuple[Family, ...] = (
    kind,
    change,
    order,
    place,
    distance,
    trying,
    tried_form,
    cost,
    likes,
    twin,
    rounding,
    waiting,
    neighbours,
    attribute,
    program,
    read_off,
    mirror,
    data,
    taken,
    picture,
    class_indices,
    history,
    numbers,
    learning,
    layout,
    elsewhere,
    edited,
    mixed,
    restored,
    summed,
    reduced,
    unasked,
    sides,
    began_alike,
    joined,
    merged,
    several,
    only_passed,
    stretching,
    cut_short,
    squeezed,
    rests,
    squared,
    made_for_it,
    words,
    home,
)


def evidence(hypothesis: Hypothesis, case: Case) -> tuple[Fact, ...]:
    """What every family says; the fault of one is told, and costs its word alone."""
    found = []
    for family in FAMILIES:
        try:
            fact = family(hypothesis, case)
        except Exception as fault:
            # of any kind: a mistake of ours in one family is told with the explanation,
            # which the others still make
            case.fault(f"the evidence `{family.__name__}`", fault)
            continue
        if fact is not None:
            found.append(fact)
    return tuple(found)


__all__ = ["FAMILIES", "Fact", "evidence"]
