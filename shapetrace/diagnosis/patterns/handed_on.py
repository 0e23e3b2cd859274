"""Skip connections that were handed on too late: what a layer made smaller, where the
other side went through that layer too and was brought back to the size before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.lineage import Call
from shapetrace.records import TensorRef


class HandedOn(NamedTuple):
    """`maker` gave `late` of `early`, which is what the other side would go with."""

    maker: Call
    early: TensorRef
    late: TensorRef


def handed_on(case: Case) -> Iterator[HandedOn]:
    left, right = case.mismatch.left, case.mismatch.right
    if case.mismatch.kind != "size" or left is None or right is None:
        return
    for own, other in ((left, right), (right, left)):
        if own.tensor is None or other.tensor is None or own.dim is None:
            continue
        if own.tensor not in case.graph.ancestors(other.tensor):
            continue
        made = case.graph.producer(own.tensor)
        layer = None if made is None or made.index < 0 else case.graph.layer_of(made)
        maker = layer or made
        if maker is None or maker.index < 0 or not maker.inputs:
            continue
        early, late = maker.inputs[0], case.graph.tensors[own.tensor]
        if len(early.shape) != len(late.shape) or early.shape[:1] != late.shape[:1]:
            continue
        if late.shape[own.dim] < early.shape[own.dim] == other.size:
            yield HandedOn(maker, early, late)
