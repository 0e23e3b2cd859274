"""Class indices, one a sample or place, that meet the scores of a model in arithmetic
of the user's: a loss that is written out, which wants a row of zeros with a one for
each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import loss

#: calls from scores back to what made shares of them
_NEAR = 8
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
    """Whether there is one label for each row of scores, or for each place of maps of
    which the second dimension is the classes."""
    if not scores.dtype.is_floating_point or len(scores.shape) < 2:
        return False
    return scores.shape[1] > 1 and labels.shape == scores.shape[:1] + scores.shape[2:]


def numbers_of(
    graph: Graph, labels: TensorRef
) -> tuple[TensorRef, FunctionCall | None] | None:
    """The labels as whole numbers, and the call that cast them; None where they are
    none."""
    if labels.dtype == torch.bool:
        return None
    if not labels.dtype.is_floating_point:
        return labels, None
    cast = graph.producer(labels.id)
    if not isinstance(cast, FunctionCall) or cast.name not in _CASTS:
        return None
    numbers = cast.inputs[0]
    if (
        not cast.direct
        or numbers.dtype.is_floating_point
        or numbers.dtype == torch.bool
    ):
        return None
    return numbers, cast


def are_known(graph: Graph, numbers: TensorRef, scores: TensorRef) -> bool:
    """Whether a loss has taken these very numbers for classes, or shares of classes are
    held against them: maps of whole numbers may as well be masks."""
    for made, call in islice(graph.chain(scores.id), _NEAR):
        if graph.tensors[made].shape != scores.shape:
            break
        if isinstance(call, FunctionCall) and call.name in ("softmax", "log_softmax"):
            return numbers.dtype == torch.int64
    users = graph.users.get(numbers.id, ())
    known = [loss(user.name) for user in users if isinstance(user, FunctionCall)]
    return any(one is not None and one.class_dim is not None for one in known)


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
