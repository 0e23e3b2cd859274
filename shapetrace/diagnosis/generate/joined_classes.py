"""Class indices that are joined with features, or given to a layer that takes one
number a class: rows of zeros with a one are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import edited
from shapetrace.records import TensorRef
from shapetrace.signatures import kind
from shapetrace.source.sizes import sizes_at

_INDICES = (torch.int64, torch.int32)
#: numbers of classes that are tried
_MOST = 6


def joined_classes(case: Case) -> Iterator[Hypothesis | None]:
    refs = [
        ref for ref in case.operands if ref.dtype in _INDICES and len(ref.shape) == 1
    ]
    others = [ref for ref in case.operands if ref.dtype.is_floating_point]
    if case.mismatch.loss or len(refs) != 1:
        return
    if kind(case.call.name) == "join":
        if not others or {ref.shape[:1] for ref in others} != {refs[0].shape}:
            return
        if any(len(ref.shape) != 2 for ref in others):
            return
        counts = _counts(case, refs[0], sum(ref.shape[1] for ref in others))
        dtype = others[0].dtype
    elif case.layer is not None and case.mismatch.kind in ("size", "dtype"):
        info = case.graph.rec.modules.get(case.layer.name)
        taken = info.attributes.get("in_features") if info is not None else None
        counts, dtype = [taken] if isinstance(taken, int) else [], torch.float32
    else:
        return
    for classes in counts:
        edit = edits.one_hot(classes, dtype)
        made = edited(case, refs[0], edit, "values")
        if made is not None:
            reason = f"holds one class for each sample, {refs[0].shape}"
            yield replace(made, reason=reason, once="joined classes")


def _counts(case: Case, ref: TensorRef, rest: int) -> list[int]:
    """How many classes there may be: what a layer that has not run yet takes more than
    the features that they are joined with, and what has a name."""
    seen = case.graph.rec.value_ranges.get(ref.id, (0, 0))
    found = []
    for name, info in case.graph.rec.modules.items():
        taken = info.attributes.get("in_features")
        if name not in case.replay.calls_of and isinstance(taken, int):
            found.append(taken - rest)
    found += [way.size for way in sizes_at(case.graph.rec, case.call) if way.named]
    return [n for n in dict.fromkeys(found) if n > max(1, seen[1])][:_MOST]
