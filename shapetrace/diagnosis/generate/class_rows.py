"""Class indices as rows of zeros with a one, which scores are held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.patterns.class_indices import (
    are_known,
    fits,
    met_in_loss,
    numbers_of,
)
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import edited, edited_at
from shapetrace.records import TensorRef
from shapetrace.signatures import is_loss


def in_own_loss(case: Case) -> Iterator[Hypothesis | None]:
    """In a loss that is written out."""
    for labels, scores in met_in_loss(case):
        yield class_rows(case, labels, scores)


def class_rows(case: Case, labels: TensorRef, scores: TensorRef) -> Hypothesis | None:
    """The labels as rows, where they are indices: before they were cast."""
    found = numbers_of(case.graph, labels)
    if found is None or not fits(labels, scores):
        return None
    (numbers, cast), classes = found, scores.shape[1]
    rank = len(labels.shape)
    # one number a place that nobody has taken for a class may be a mask
    among = 1 if rank == 1 or are_known(case.graph, numbers, scores) else 2
    if cast is None:
        # arithmetic takes whole numbers, and torch's own losses do not
        kind = scores.dtype if is_loss(case.call.name) else None
        edit = edits.one_hot(classes, kind, rank, among)
        made = edited(case, labels, edit, "values")
    else:
        edit, site = edits.one_hot(classes, None, rank, among), case.site_of(labels.id)
        made = edited_at(case, cast, numbers, edit, "values", site)
    each = "sample" if rank == 1 else "place"
    reason = f"holds one class for each {each}, {labels.shape}"
    return None if made is None else replace(made, reason=reason)
