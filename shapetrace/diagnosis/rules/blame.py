"""Which side is wrong, and who put it there: culprits in order of likelihood.

Each rule weighs evidence that the recording holds, and says it in the culprit's
reason. Data (inputs and targets) is the user's and believed, unless no layer touched
the size that does not fit, or the shape itself gives it away.
"""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.diagnosis.detect import Mismatch
from shapetrace.diagnosis.rules.blame_argument import blame_argument
from shapetrace.diagnosis.rules.blame_layer import blame_layer
from shapetrace.diagnosis.rules.blame_loss import blame_loss
from shapetrace.diagnosis.rules.blame_operands import blame_operands, untransposed
from shapetrace.diagnosis.rules.order import disordered
from shapetrace.diagnosis.rules.producers import holds
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import Culprit, ModuleCall

_MOST = 3


def blame(graph: Graph, problem: Mismatch) -> tuple[Culprit, ...]:
    """At most three culprits, most likely first; none where it is not two sizes."""
    if problem.kind != "size" and not problem.loss:
        return ()
    if problem.kind not in ("size", "rank"):
        return ()
    found = blame_loss(graph, problem) if problem.kind == "rank" else None
    found = list(_size(graph, problem) if found is None else found)
    distinct: list[Culprit] = []
    for culprit in found:
        if all((culprit.kind, culprit.name) != (c.kind, c.name) for c in distinct):
            distinct.append(culprit)
    # an installed package has been run by many: its code comes after layers and data
    distinct.sort(key=_is_library_code)
    return tuple(distinct[:_MOST])


def _is_library_code(culprit: Culprit) -> bool:
    file = culprit.source.file if culprit.source is not None else ""
    return culprit.kind == "function" and (
        "site-packages" in file or "dist-packages" in file
    )


def _size(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    left, right = problem.left, problem.right
    if left is None or right is None:
        return []
    if problem.loss:
        prediction, target = sides(graph, problem.call)
        if prediction is not None and target is not None:
            return blame_loss(graph, problem)
    if right.tensor is None and problem.layer is None:
        return blame_argument(graph, problem, left, right)
    inside = problem.layer is not None and _is_composite(graph, problem.layer)
    if problem.layer is None and (disordered(problem) or untransposed(graph, problem)):
        return blame_operands(graph, problem, left, right)
    if holds(graph, right) or problem.layer is not None and not inside:
        return blame_layer(graph, problem, left, right)
    return blame_operands(graph, problem, left, right)


def _is_composite(graph: Graph, layer: ModuleCall) -> bool:
    """Whether one of torch's own layers is made of others (nn.TransformerDecoderLayer):
    a clash of two tensors inside it is one of its parts'."""
    return any(call.parent == layer.index for call in graph.rec.calls)
