"""Blame where element types or devices differ."""

from __future__ import annotations

from collections.abc import Iterable

from shapetrace.diagnosis.mismatch import Mismatch, Spot
from shapetrace.diagnosis.rules.class_dim import wants_indices
from shapetrace.diagnosis.rules.makers import enclosing
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
    owner,
)
from shapetrace.diagnosis.unlike import at_home
from shapetrace.lineage import Call, Graph
from shapetrace.records import Culprit, FunctionCall, ModuleCall


def blame_unlike(graph: Graph, problem: Mismatch) -> Iterable[Culprit]:
    """Two element types or devices: whoever gave the odd tensor its own, and then the
    layer that has the other."""
    left, right, kind = problem.left, problem.right, problem.kind
    if left is None or left.tensor is None:
        return
    odd, against = left, right
    if problem.loss and right is not None:
        odd, against = right, left
    assert odd.tensor is not None
    own = _attribute(graph, odd, kind)
    wanted = _attribute(graph, against, kind) if against is not None else problem.name
    if kind == "dtype" and wants_indices(graph, problem.call):
        wanted = "int64"
    reason = f"is {own}, {wanted} is wanted"
    takes = problem.layer
    mine = ""
    if graph.is_parameter(odd.tensor):
        holder = owner(graph, odd.tensor) or ""
        call = takes or graph.module_of(problem.call)
        said = f"holds {own} parameters, where others of the model are {wanted}"
        yield Culprit(
            "module", holder, source=call.source if call else None, reason=said
        )
        if against is None or against.tensor is None:
            return
        odd, own = against, wanted
        reason = f"is {own}"
    elif takes is not None and against is not None and against.tensor is not None:
        mine = f"holds {wanted} parameters, gets {own}"
    held = _held(graph, problem, odd)
    if held is not None:
        yield culprit_of_module(
            held,
            reason=(
                f"uses a tensor that {reason}; it is neither parameter nor buffer (but "
                "an attribute, or of a layer in a plain list): .to() does not reach it"
            ),
        )
    given = _given(graph, problem, odd, reason)
    settled = against is not None and at_home(graph, against.tensor, kind)
    assert odd.tensor is not None
    first = not graph.from_model(odd.tensor) or settled
    if first and given is not None:
        yield given
    if mine and takes is not None:
        yield culprit_of_module(takes, reason=mine)
    if not first and given is not None:
        yield given
    if takes is None:
        yield from enclosing(graph, problem.call, f"combines {own} with {wanted}")


def _attribute(graph: Graph, spot: Spot, kind: str) -> str:
    if spot.tensor is None:
        return "another"
    return str(getattr(graph.tensors[spot.tensor], kind)).removeprefix("torch.")


def _held(graph: Graph, problem: Mismatch, odd: Spot) -> ModuleCall | None:
    """The module that seems to hold the odd tensor as a plain attribute: it descends
    from one that came from outside the trace, and not through the module's inputs."""
    module = graph.module_of(problem.call)
    if module is None or problem.layer is not None or odd.tensor is None:
        return None
    start = odd.tensor
    for _, call in graph.chain(start):
        if call.inputs and not graph.is_parameter(call.inputs[0].id):
            start = call.inputs[0].id
    given = {ref.id for call in graph.rec.calls for ref in call.inputs}
    origin = graph.origin(start)
    if origin is not None and origin.kind == "outside" and start not in given:
        return module
    return None


def _given(graph: Graph, problem: Mismatch, odd: Spot, reason: str) -> Culprit | None:
    """The oldest call of the unbroken run that has the odd type or device, or the data
    that came with it. What was cast outside of all modules is data all the same."""
    assert odd.tensor is not None
    value = getattr(graph.tensors[odd.tensor], problem.kind)
    found: Call | None = None
    for made, call in graph.chain(odd.tensor):
        if getattr(graph.tensors[made], problem.kind) != value:
            break
        found = call
    if found is not None and any(
        getattr(ref, problem.kind) == value and graph.producer(ref.id) is None
        for ref in found.inputs
        if not graph.is_parameter(ref.id)
    ):
        found = None  # it came in so, and was only passed on
    inside = isinstance(found, FunctionCall) and found.parent is not None
    if isinstance(found, FunctionCall) and found.inputs and not inside:
        verb = "cast" if problem.kind == "dtype" else "moved"
        reason = reason.replace("is ", f"is {verb} to ", 1)
        reason = reason.replace(", ", f" at {found.source}, ", 1)
    if found is None or not graph.from_model(odd.tensor) and not inside:
        return culprit_of_data(graph, odd.tensor, target=problem.loss, reason=reason)
    if not found.inputs and not inside:
        return culprit_of_data(graph, odd.tensor, reason=reason)
    own = _attribute(graph, odd, problem.kind)
    return culprit_of_call(
        graph, found, reason=f"gives {own}; {reason.partition(', ')[2]}"
    )
