"""A loss that takes dimension 1 as classes, and a prediction that has them last."""

from __future__ import annotations

from shapetrace.diagnosis.detect import Mismatch
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.rules.blame_leaves import of_leaf
from shapetrace.diagnosis.sites import culprit_of_call
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall, TensorRef


def permuted(prediction: TensorRef, target: TensorRef) -> bool:
    a, b = prediction.shape, target.shape
    return a != b and sorted(a) == sorted(b)


def class_dim(
    graph: Graph, problem: Mismatch, prediction: TensorRef, target: TensorRef
) -> list[Culprit]:
    """cross_entropy wants the classes in dimension 1; here a layer's width, which the
    classes are, stands last."""
    shape = prediction.shape
    if problem.call.name not in ("cross_entropy", "nll_loss") or len(shape) < 3:
        return []
    if shape[:-1] != target.shape:
        return []
    last = len(shape) - 1
    added = _pushed(graph, prediction, last)
    if added is not None:
        reason = f"puts the {shape[last]} classes last; {problem.call.name} takes dim 1"
        return [
            culprit_of_call(
                graph,
                added,
                dim=1,
                size=shape[1],
                expected=shape[last],
                reason=reason,
            )
        ]
    for leaf in leaves(graph, prediction.id, last):
        for culprit in of_leaf(graph, leaf, shape[last], None, target=False):
            reason = (
                f"puts its {shape[last]} classes in dim {last}; "
                f"{problem.call.name} takes dim 1 as classes: a permute is missing"
            )
            return [
                Culprit(
                    culprit.kind,
                    culprit.name,
                    1,
                    shape[1],
                    shape[last],
                    culprit.source,
                    reason,
                )
            ]
    return []


def _pushed(graph: Graph, prediction: TensorRef, dim: int) -> FunctionCall | None:
    """The user's call that put a new dimension in front of one (`torch.stack`)."""
    for hop in graph.trail(prediction.id, dim).hops:
        before = hop.call.inputs[0].shape if hop.call.inputs else ()
        if isinstance(hop.call, FunctionCall) and hop.call.direct and before:
            sources = graph.source_ids(hop.call, hop.origin)
            grown = len(graph.tensors[hop.tensor].shape) > len(before)
            if grown and sources and sources[0][1] < hop.dim:
                return hop.call
    return None
