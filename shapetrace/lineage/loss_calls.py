"""The losses of a batch, who is prediction and who is target, and what stretched."""

from __future__ import annotations

from shapetrace.lineage import Graph
from shapetrace.records import Broadcast, FunctionCall, TensorRef
from shapetrace.signatures import (
    broadcasts,
    is_elementwise,
    is_loss,
    kind,
    loss,
    loss_input,
    loss_target,
)


def losses(graph: Graph) -> tuple[FunctionCall, ...]:
    """Calls of torch's losses that are no part of another, and the calls that made
    what `.backward()` was called on, where no such loss stands behind it."""
    functions = graph.rec.functions
    found = {call.index for call in functions if is_loss(call.name)}
    behind: set[int] = set()  # what descends from a loss: calls stand in their order
    for call in functions:
        if call.name == "backward" and call.inputs:
            start = call.inputs[0].id
            made = graph.producer(start)
            if start not in behind and isinstance(made, FunctionCall):
                found.add(made.index)
        elif call.index in found or any(ref.id in behind for ref in call.inputs):
            behind.update(ref.id for ref in call.outputs or ())
    return tuple(functions[index] for index in sorted(found))


def broadcast_ledger(graph: Graph) -> tuple[Broadcast, ...]:
    """Every implicit expansion, in the order of the calls."""
    functions = graph.rec.functions
    targets = {
        call.inputs[position].id
        for call in functions
        if is_loss(call.name) and (position := loss_target(call)) is not None
    }
    found = []
    for call in functions:
        for position, dim, size in broadcasts(call):
            stretched = call.inputs[position]
            others = [ref for ref in call.inputs if ref is not stretched]
            if not others:
                continue
            module = graph.module_of(call)
            found.append(
                Broadcast(
                    call=call.index,
                    name=call.name,
                    stretched=stretched.path,
                    by=max(others, key=lambda ref: len(ref.shape)).path,
                    dim=dim,
                    size=size,
                    shapes=tuple(ref.shape for ref in call.inputs),
                    source=call.source,
                    module=module.name if module else None,
                    met_target=any(ref.id in targets for ref in call.inputs),
                )
            )
    return tuple(found)


def prediction(call: FunctionCall) -> int | None:
    """The id of the tensor that a loss call takes as its prediction."""
    position = loss_input(call)
    return None if position is None else call.inputs[position].id


def target(call: FunctionCall) -> int | None:
    """The id of the tensor that a loss call takes as its target."""
    position = loss_target(call)
    return None if position is None else call.inputs[position].id


def is_loss_like(graph: Graph, call: FunctionCall) -> bool:
    """A loss of torch's, or a step of a hand-written one: outside of every module, an
    operation between what the model made and data that it did not touch."""
    if is_loss(call.name):
        return True
    if call.parent is not None or len(call.inputs) != 2:
        return False
    if call.name == "add" or not (
        is_elementwise(call.name) or kind(call.name) == "distance"
    ):
        return False  # sums, joining and multiplying matrices compare nothing
    a, b = (graph.from_model(ref.id) for ref in call.inputs)
    made = [graph.producer(ref.id) for ref in call.inputs]
    if any(isinstance(one, FunctionCall) and is_loss(one.name) for one in made):
        return False  # the weights of a loss that is not reduced
    return a != b


def sides(
    graph: Graph, call: FunctionCall
) -> tuple[TensorRef | None, TensorRef | None]:
    """Prediction and target of a loss, also of a hand-written one. Of a loss in which
    both count alike, such as `l1_loss`, what the model made is the prediction."""
    known = loss(call.name)
    if known is not None:
        at, wanted = loss_input(call), loss_target(call)
        given = None if at is None else call.inputs[at]
        held = None if wanted is None else call.inputs[wanted]
        if given is not None and held is not None and known.takes == "values":
            if graph.from_model(held.id) and not graph.from_model(given.id):
                return held, given
        return given, held
    if len(call.inputs) != 2:
        return None, None
    first, second = call.inputs
    if graph.from_model(first.id):
        return first, second
    return second, first
