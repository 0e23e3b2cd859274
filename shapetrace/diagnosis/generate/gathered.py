"""Rows picked by an index before they meet what there is one of for each entry of it:
a graph's nodes have a row each, and a message is for an edge."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import edited
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.diagnosis.sizes.leaves import every_part
from shapetrace.records import TensorRef
from shapetrace.source.line import find
from shapetrace.source.sizes import tensors_at

_INTEGERS = (torch.int64, torch.int32)
#: rows of an index of several (`edge_index`) that are tried
_MOST = 3


def gathered(case: Case) -> Iterator[Hypothesis | None]:
    """Either side whose first dimension is odd, picked by an index that the code has a
    name for, and that the failing line does not use yet."""
    left, right = case.mismatch.left, case.mismatch.right
    if case.mismatch.kind != "size" or case.layer is not None or case.mismatch.loss:
        return
    for spot, other in ((left, right), (right, left)):
        if spot is None or other is None or spot.dim != 0 or other.dim != 0:
            continue
        ref = next((r for r in case.call.inputs if r.id == spot.tensor), None)
        if ref is None or case.graph.is_parameter(ref.id) or ref.dtype in _INTEGERS:
            continue
        if any(
            r.id == other.tensor and r.dtype == torch.bool for r in case.call.inputs
        ):
            continue  # a mask says yes or no to each row that there is
        found = list(_indices(case, other.size, ref.shape[0]))
        for index in found:
            edit = edits.picked(index, other.size, len(found))
            yield edited(case, ref, edit, "insert", site_of_call(case.graph, case.call))


def _indices(case: Case, entries: int, table: int) -> Iterator[str]:
    """What the code calls an index of so many entries into a table of so many rows."""
    line = find(case.call.source)
    used = {ref.id for ref in case.call.inputs}
    known = tensors_at(case.graph.rec, case.call)
    named = used | {ref.id for ref in known.values()}
    for name, ref in known.items():
        if ref.dtype not in _INTEGERS or ref.shape[-1:] != (entries,):
            continue
        if table in _lengths(case, ref):
            continue  # it has a row for each entry already
        if len(ref.shape) == 1 and ref.id not in used:
            names = [name]
        elif len(ref.shape) == 2 and ref.shape[0] <= _MOST:
            rows = case.graph.users.get(ref.id, ())
            taken = [r.id for made in rows for r in made.outputs or ()]
            if any(one in named for one in taken):
                continue  # the code has names for its rows
            names = [f"{name}[{row}]" for row in range(ref.shape[0])]
        else:
            continue
        yield from (one for one in names if line is None or one not in line.code)


def _lengths(case: Case, index: TensorRef) -> set[int]:
    """How many entries the data had that an index of one dimension is joined of: a
    table with as many rows has one for each entry already."""
    if len(index.shape) != 1:
        return set()
    return {
        leaf.size
        for leaf in every_part(case.graph, index.id, 0)
        if leaf.end.kind == "data" and leaf.size != index.shape[0]
    }
