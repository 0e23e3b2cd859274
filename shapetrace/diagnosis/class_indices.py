"""Class indices, one a sample, that meet the scores of a model in arithmetic of the
user's: a loss that is written out, which wants a row of zeros with a one for each."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, TensorRef

_CASTS = ("float", "double", "half", "bfloat16", "to", "type")
#: what a loss that is written out does with scores and targets
_ARITHMETIC = ("mul", "sub", "rsub", "add", "div", "pow")


def met_in_loss(case: Case) -> Iterator[tuple[TensorRef, TensorRef]]:
    """The labels and the scores of a failing call outside of all networks: within one,
    whole numbers may as well be lengths, counts or gates."""
    graph, call = case.graph, case.call
    if case.layer is not None or call.name.rstrip("_") not in _ARITHMETIC:
        return
    if _in_network(graph, call):
        return
    for scores in call.inputs:
        for labels in call.inputs:
            if graph.from_model(scores.id) and not graph.from_model(labels.id):
                if numbers_of(graph, labels) is not None and fits(labels, scores):
                    yield labels, scores


def fits(labels: TensorRef, scores: TensorRef) -> bool:
    """Whether there is one label for each row of scores."""
    if len(labels.shape) != 1 or len(scores.shape) != 2:
        return False
    return labels.shape[0] == scores.shape[0] and scores.dtype.is_floating_point


def numbers_of(
    graph: Graph, labels: TensorRef
) -> tuple[TensorRef, FunctionCall | None] | None:
    """The labels as whole numbers, and the call that cast them; None where they are
    none."""
    if not labels.dtype.is_floating_point:
        return labels, None
    cast = graph.producer(labels.id)
    if not isinstance(cast, FunctionCall) or cast.name not in _CASTS:
        return None
    numbers = cast.inputs[0]
    if not cast.direct or numbers.dtype.is_floating_point:
        return None
    return numbers, cast


def _in_network(graph: Graph, call: FunctionCall) -> bool:
    """Whether the module in whose forward a call stands has parameters."""
    module = graph.module_of(call)
    if module is None:
        return False
    inside = f"{module.name}." if module.name else ""
    return any(
        info.parameters
        for name, info in graph.rec.modules.items()
        if name == module.name or name.startswith(inside)
    )
