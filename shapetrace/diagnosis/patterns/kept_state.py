"""States that a training loop hands from one batch to the next, where the next is of
another size; and those that the model keeps itself."""

from __future__ import annotations

from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.once import once
from shapetrace.lineage import Call
from shapetrace.records import ModuleCall


class KeptState(NamedTuple):
    """`state` has the batch of an earlier call of what a text calls `said`, `data` that
    of this one."""

    said: str
    state: Spot
    data: Spot


@once
def kept_state(case: Case) -> KeptState | None:
    left, right = case.mismatch.left, case.mismatch.right
    if case.mismatch.kind != "size" or left is None or right is None:
        return None
    for state, data in ((left, right), (right, left)):
        if state.tensor is None or data.tensor is None or data.dim is None:
            continue
        end = case.graph.trail(data.tensor, data.dim).end
        if end.kind != "data" or end.dim != 0:
            continue
        before = case.graph.ancestors(state.tensor)
        if data.tensor in before or case.graph.is_parameter(state.tensor):
            continue
        top = case.root()
        if top is None or not any(ref.id in before for ref in top.inputs):
            continue
        said = _made_by_the_same(case, before)
        if said:
            return KeptState(said, state, data)
    return None


class Kept(NamedTuple):
    """What the model made in an earlier call of it, and kept since."""

    made: Call
    size: int


@once
def kept_by_model(case: Case) -> Kept | None:
    """The side that the model kept of an earlier batch."""
    top = case.root()
    if case.call.parent is None:
        return None  # what the model gave in two calls may well meet outside
    for spot in case.mismatch.spots:
        if spot.tensor is None or top is None:
            continue
        made = case.graph.producer(spot.tensor)
        if made is None or made.parent is None:
            continue
        around = case.graph.rec.calls[made.parent]
        while around.parent is not None:
            around = case.graph.rec.calls[around.parent]
        if around.name == top.name and around.index < top.index:
            return Kept(made, spot.size)
    return None


def _made_by_the_same(case: Case, before: set[int]) -> str:
    """What failed, in words, where an earlier call of it gave one of the tensors."""
    at: Call = case.layer or case.call
    earlier: list[Call]
    if isinstance(at, ModuleCall):
        earlier = list(case.replay.calls_of.get(at.name, ()))
    else:
        earlier = [
            one
            for one in case.graph.rec.functions[: max(at.index, 0)]
            if (one.name, one.source) == (at.name, at.source)
        ]
    for one in earlier:
        if one.index != at.index and any(ref.id in before for ref in one.outputs or ()):
            return case.graph.spoken(at) if isinstance(at, ModuleCall) else at.name
    return ""
