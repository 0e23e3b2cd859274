"""A mask of another number of dimensions than the tensor that it chooses from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair.changes import edited
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.records import TensorRef
from shapetrace.signatures import is_method
from shapetrace.source.line import find


def masks(case: Case) -> Iterator[Hypothesis | None]:
    """A flat mask in the shape of what it chooses from, and one entry of it for each
    row of what has no more than rows."""
    call, mismatch = case.call, case.mismatch
    if not call.inputs or all(spot.role != "mask" for spot in mismatch.spots):
        return
    tensor = call.inputs[0]
    ids = {spot.tensor for spot in mismatch.spots if spot.role == "mask"}
    mask = next((ref for ref in call.inputs[1:] if ref.id in ids), None)
    if mask is None or not mask.shape:
        return
    site = site_of_call(case.graph, call)
    for rank in range(1, len(tensor.shape) + 1):
        shape = tensor.shape[:rank]
        if rank != len(mask.shape) and math.prod(shape) == math.prod(mask.shape):
            made = edited(case, mask, _in_shape(case, tensor, shape), "insert", site)
            reason = f"takes a mask of shape {mask.shape} for a tensor of {shape}"
            yield made and replace(made, reason=reason)
    rows = len(tensor.shape)
    if rows < len(mask.shape) and mask.shape[:rows] == tensor.shape:
        made = edited(case, mask, _by_row(rows, len(mask.shape)), "reduce", site)
        reason = f"takes a mask of shape {mask.shape} for a tensor of {tensor.shape}"
        yield made and replace(made, reason=reason)


def _in_shape(case: Case, tensor: TensorRef, shape: tuple[int, ...]) -> Edit:
    """`mask.reshape_as(x)`: the same entries, in the first dimensions of `x`."""
    line = find(case.call.source)
    node = line and line.argument(tensor.path, is_method(case.call))
    text = f"{{}}.reshape({', '.join(map(str, shape))})"
    if line is not None and node is not None:
        name = line.text(node)
        text = f"{{}}.reshape({name}.shape[:{len(shape)}])"
        if len(shape) == len(tensor.shape):
            text = f"{{}}.reshape_as({name})"
    words = "the same entries in the shape of what it chooses from"
    return Edit(text, lambda t: t.reshape(shape), words)


def _by_row(rows: int, rank: int) -> Edit:
    """`mask[:, 0]`: the first entry of each row."""
    first = ", ".join([":"] * rows + ["0"] * (rank - rows))
    return Edit(
        f"{{}}[{first}]",
        lambda t: t[(slice(None),) * rows + (0,) * (rank - rows)],
        "its first entry for each row",
        loses="all but the first entry of each row",
    )
