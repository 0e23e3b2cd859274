"""A side of a loss that had the wanted shape, until the user's own code changed it."""

from __future__ import annotations

from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, TensorRef

#: losses whose target holds class indices, with a dimension less than the prediction
BY_CLASS = ("cross_entropy", "nll_loss", "multi_margin_loss", "ctc_loss")


def wanted_target(prediction: TensorRef, loss: str) -> tuple[int, ...] | None:
    """The shape of a target that fits a prediction."""
    shape = prediction.shape
    if loss == "ctc_loss" or not shape:
        return None
    return shape[:1] + shape[2:] if loss in BY_CLASS and len(shape) > 1 else shape


def took_shape_away(
    graph: Graph, tensor: int, wanted: tuple[int, ...] | None
) -> FunctionCall | None:
    """The newest function of the user's that a tensor went into in the wanted shape and
    left in another; none where a layer stands before it."""
    for made, call in graph.chain(tensor):
        if not isinstance(call, FunctionCall) or graph.layer_of(call) is not None:
            return None
        before = next((r for r in call.inputs if not graph.is_parameter(r.id)), None)
        after = graph.tensors[made].shape
        if before is None or before.shape != wanted or after == before.shape:
            continue
        return call if call.direct and not _is_shift(call, after) else None
    return None


def _is_shift(call: FunctionCall, after: tuple[int, ...]) -> bool:
    """`y[:, 1:]`: labels of the next step are one fewer, and meant to be."""
    before = call.inputs[0].shape
    if call.name != "getitem" or len(before) != len(after):
        return False
    return sum(a - b for a, b in zip(before, after)) == 1
