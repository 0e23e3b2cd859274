"""Blame where it is not two sizes: indices, containers, windows too large."""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.leaves import changers, leaves
from shapetrace.diagnosis.mismatch import is_part
from shapetrace.diagnosis.returned import returned
from shapetrace.diagnosis.rules.blame_loss import blame_loss
from shapetrace.diagnosis.rules.makers import enclosing, producers, spelled
from shapetrace.diagnosis.rules.suspects import remark
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
)
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, ModuleCall, TensorRef


def blame_range(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    left, right = problem.left, problem.right
    if left is not None and left.tensor is None and right is not None:
        yield culprit_of_call(graph, problem.call, reason=f"asks for index {left.size}")
        if right.tensor is not None and right.dim is not None:
            found = leaves(graph, right.tensor, right.dim)
            yield from producers(graph, found, right, Spot(None, None, 0))
        return
    if left is None or left.tensor is None:
        return
    span = graph.rec.value_ranges.get(left.tensor, (left.size, left.size))
    limit = right.size if right is not None else None
    reason = (
        f"holds values from {span[0]} to {span[1]}, allowed are 0 to {(limit or 1) - 1}"
    )
    size = span[0] if span[0] < 0 else span[1]
    data = culprit_of_data(
        graph,
        left.tensor,
        target=problem.loss,
        size=size,
        reason=reason,
    )
    if problem.loss:
        yield data
        if span[0] < 0:
            return  # no number of classes has a class below 0
        if right is not None and right.tensor is not None and right.dim is not None:
            found = leaves(graph, right.tensor, right.dim)
            yield from producers(graph, found, right, Spot(None, None, span[1] + 1))
        return
    table = None
    if problem.layer is not None:
        table = culprit_of_module(
            problem.layer,
            dim=0,
            size=limit,
            expected=span[1] + 1 if span[0] >= 0 else None,
            reason=f"has num_embeddings={limit}, index {size} is asked for",
        )
    if table is not None and span[0] >= 0:
        yield table
    yield data
    if table is not None:
        yield table
    elif right is not None and right.tensor is not None and right.dim is not None:
        found = leaves(graph, right.tensor, right.dim)
        yield from producers(graph, found, right, Spot(None, None, span[1] + 1))


def blame_container(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """The module call whose whole output was passed on."""
    inner = [ref.id for ref in problem.call.inputs if is_part(ref.path)]
    for module in sorted(graph.rec.calls, key=lambda call: -call.end_order):
        ids = {ref.id for ref in module.outputs or ()}
        if module.output_type != "Tensor" and ids and ids & set(inner):
            yield culprit_of_module(
                module,
                reason=f"returns {module.output_type}; the call wants one tensor of it",
            )
            return


def blame_unknown(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """No rule says more: the layer that failed, its input, or the function itself."""
    call = problem.call
    message = call.error.message if call.error is not None else ""
    if "too small" in message or "greater than actual input" in message:
        yield from _too_small(graph, problem)
        return
    if "more than 1 value per channel" in message and problem.layer is not None:
        yield from _one_value(graph, problem.layer, call.inputs[0])
        return
    if problem.loss and _is_about_target(message):
        yield from blame_loss(graph, problem)
        return
    around = graph.module_of(problem.layer or call)
    given = list(returned(graph, around, message))
    yield from given
    if problem.layer is not None:
        reason = "cannot take that" if given else "raised"
        yield culprit_of_module(problem.layer, reason=reason)
        for ref in call.inputs:
            if not graph.is_parameter(ref.id):
                if not graph.from_model(ref.id):
                    yield culprit_of_data(
                        graph, ref.id, reason=f"comes in as {spelled(ref.shape)}"
                    )
                break
        return
    yield culprit_of_call(graph, call, reason="raised")
    yield from enclosing(graph, call, "encloses the call that raised")


def _one_value(graph: Graph, layer: ModuleCall, ref: TensorRef) -> Iterable[Culprit]:
    """Nothing to normalise: one sample, of which a pooling left one number."""
    yield culprit_of_module(
        layer,
        dim=0,
        size=ref.shape[0],
        reason=(
            f"is given one value per channel, {spelled(ref.shape)}: in training it "
            "takes a batch of more than one (in eval() any)"
        ),
    )
    end = graph.trail(ref.id, 0).end
    if end.kind == "data":
        yield culprit_of_data(
            graph,
            end.tensor,
            dim=end.dim,
            size=graph.size(end.tensor, end.dim),
            reason="has a batch of 1 (drop_last=True leaves the last one out)",
        )


def _is_about_target(message: str) -> bool:
    """Whether a message of PyTorch's that no rule reads speaks of the labels."""
    return "target" in message.lower() or "label" in message.lower()


def _too_small(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """Nothing is left for a window: the image, or whoever made so little of it."""
    tensor = problem.call.inputs[0]
    dim = len(tensor.shape) - 1
    spot = Spot(tensor.id, dim, tensor.shape[dim])
    shrunk = [
        culprit_of_call(
            graph,
            hop.call,
            dim=hop.dim,
            size=graph.size(hop.tensor, hop.dim),
            reason=f"leaves {graph.size(hop.tensor, hop.dim)}{remark(hop.origin)}",
        )
        for leaf in leaves(graph, tensor.id, dim)
        for hop in changers(graph, leaf.hops)
        if hop.origin.how == "window"
    ]
    data = [
        culprit
        for culprit in producers(
            graph, leaves(graph, tensor.id, dim), spot, Spot(None, None, 0)
        )
        if culprit.kind in ("input", "target")
    ]
    failed = culprit_of_call(
        graph, problem.call, reason=f"has only {spelled(tensor.shape)} to work on"
    )
    if problem.layer is not None:
        return [failed, *data, *shrunk]
    return [*data, *shrunk, failed]
