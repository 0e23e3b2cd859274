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
    """A mask that has an entry for each element, in their shape."""
    call = case.call
    ids = {spot.tensor for spot in case.mismatch.spots if spot.role == "mask"}
    mask = next((ref for ref in call.inputs[1:] if ref.id in ids), None)
    if mask is None or math.prod(mask.shape) != math.prod(call.inputs[0].shape):
        return
    tensor = call.inputs[0]
    site = site_of_call(case.graph, call)
    made = edited(case, mask, _in_shape(case, tensor), "insert", site)
    reason = f"takes a mask of shape {mask.shape} for a tensor of {tensor.shape}"
    yield made and replace(made, reason=reason)


def _in_shape(case: Case, tensor: TensorRef) -> Edit:
    line = find(case.call.source)
    node = None if line is None else line.argument(tensor.path, is_method(case.call))
    text = f"{{}}.reshape({', '.join(map(str, tensor.shape))})"
    if line is not None and node is not None:
        text = f"{{}}.reshape_as({line.text(node)})"
    words = "the same entries in the shape of what it chooses from"
    return Edit(text, lambda t: t.reshape(tensor.shape), words)
