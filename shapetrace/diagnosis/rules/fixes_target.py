"""Proposals for a target that the user's code reshaped, and for weights of a loss."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.diagnosis.rules.departed import departed, wanted_target
from shapetrace.diagnosis.rules.desk import Candidate, Desk, is_method, method
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import find


def undone(
    desk: Desk, prediction: TensorRef, target: TensorRef
) -> Iterator[Candidate | None]:
    """The line that took the target's fitting shape away, left out."""
    wanted = wanted_target(prediction, desk.problem.call.name)
    call = departed(desk.graph, target.id, wanted)
    line = None if call is None else find(call.source)
    if call is None or line is None or not call.outputs:
        return
    node = line.argument("args[0]", is_method(call))
    picks = call.name == "getitem" and isinstance(call.args[1], TensorRef)
    if node is None or picks:
        return  # rows picked by a mask are meant
    shape = call.inputs[0].shape
    kept = Edit("", lambda t: t.new_empty(shape))
    repair = Repair((Taken(call.outputs[0].id, kept),))
    words = f"leaves `{call.name}` out: the target keeps its shape {shape}"
    text = line.around(line.text(node))
    yield Candidate(text, words, line.source, repair, "target")


def one_hot_rows(
    desk: Desk, prediction: TensorRef, target: TensorRef
) -> Iterator[Candidate | None]:
    """Rows of one number a class, that a view made one long dimension: their class
    indices instead."""
    call = desk.graph.producer(target.id)
    if not isinstance(call, FunctionCall) or call.name not in ("view", "reshape"):
        return
    if call.inputs[0].shape == prediction.shape and len(prediction.shape) == 2:
        words = "makes class indices of one-hot rows"
        yield desk.recall(call, method(call, "argmax", 1), "{}.argmax(1)", words)


def reweighted(desk: Desk, prediction: TensorRef) -> Iterator[Candidate | None]:
    """A weight whose size stands in another dimension of the prediction: dimensions of
    size 1 behind it; in a weight with a dimension too many, those of size 1 dropped."""
    own = [ref.id for ref in sides(desk.graph, desk.problem.call) if ref is not None]
    for spot in (desk.problem.left, desk.problem.right):
        if spot is None or spot.input is None or spot.tensor in own:
            continue
        ref = desk.problem.call.inputs[spot.input]
        about = desk.about_data(ref.id)
        for dim in reversed(range(len(ref.shape))):
            if len(ref.shape) > 1 and ref.shape[dim] == 1:
                yield desk.edit(ref, edits.squeeze(dim), about)
        at = [d for d, size in enumerate(prediction.shape) if (size,) == ref.shape]
        if len(at) == 1 and at[0] < len(prediction.shape) - 1:
            added = len(prediction.shape) - 1 - at[0]
            yield desk.edit(ref, edits.trailing(added), about)
