"""A proposal for labels at every step where the model used the last step alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.sites import owner
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.source.line import find

_RECURRENT = ("LSTM", "GRU", "RNN")


def every_step(
    desk: Desk, prediction: TensorRef, target: TensorRef
) -> Iterator[Candidate | None]:
    """The last layer on the output of every step, the classes permuted to dim 1; or
    one label a sequence."""
    graph = desk.graph
    a, b = prediction.shape, target.shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[0] or b[1] in (1, a[1]):
        return
    if desk.problem.call.name not in ("cross_entropy", "nll_loss"):
        return
    last, layer = _last_step(graph, prediction)
    if last is not None and layer is not None:
        yield _all_steps(desk, prediction, target, last, layer)
    about = desk.about_data(target.id, target=True)
    yield desk.edit(
        target,
        edits.Edit(
            "{}[:, -1]",
            lambda t: t.select(1, -1),
            f"one label a sequence, the last: a target of shape ({b[0]},)",
        ),
        about,
    )


def _last_step(
    graph: Graph, prediction: TensorRef
) -> tuple[FunctionCall | None, ModuleCall | None]:
    """The index that chose the last step, and the recurrent layer it chose from."""
    chosen = None
    for _, call in graph.chain(prediction.id):
        if isinstance(call, FunctionCall) and call.direct and call.name == "getitem":
            chosen = call
        layer = graph.layer_of(call)
        if layer is not None and layer.type in _RECURRENT:
            return chosen, layer
    return None, None


def _all_steps(
    desk: Desk,
    prediction: TensorRef,
    target: TensorRef,
    last: FunctionCall,
    recurrent: ModuleCall,
) -> Candidate | None:
    """`return self.fc(out).permute(0, 2, 1)`, where `self.fc(h[-1])` was."""
    graph = desk.graph
    info = graph.rec.modules.get(recurrent.name)
    made = graph.producer(prediction.id)
    head = None if made is None else graph.layer_of(made)
    if info is None or head is None or head.type != "Linear" or not recurrent.outputs:
        return None
    if last.outputs is None or last.outputs[0].id not in {r.id for r in head.inputs}:
        return None
    line = find(head.source)
    name = None if head.source is None else _output(recurrent, head.source.line)
    node = None if line is None else line.argument("args[0]")
    if name is None or line is None or node is None:
        return None
    steps = recurrent.outputs[0].shape
    first = bool(info.attributes.get("batch_first"))
    weight = owner(graph, head.inputs[0].id)
    if weight is not None or len(steps) != 3 or steps[-1] != head.inputs[0].shape[-1]:
        return None
    order = (0, 2, 1) if first else (1, 2, 0)
    code = line.with_part(node, name)
    if not isinstance(line.tree, ast.Call):
        return None
    inner = f"{line.text(line.tree.func)}({name})"
    text = code.replace(inner, f"{inner}.permute{order}", 1)
    if text == code:
        return None
    batch, length = steps[:2] if first else steps[1::-1]
    shape = (batch, prediction.shape[1], length)
    every = edits.Edit(text, lambda t: t.new_empty(shape))
    at = desk.problem.call.order
    repair = Repair((Taken(prediction.id, every, at, at),))
    about = f"function:{last.name}"
    words = f"applies {head.name} to every step: logits {shape}"
    return Candidate(text, words, line.source, repair, about)


def _output(recurrent: ModuleCall, used: int) -> str | None:
    """The output of every step at line `used`: the name that `out, (h, c) = …` gives
    it, or, where that is bound again as in `_, (h, _) = …`, the layer's call itself."""
    line = find(recurrent.source)
    if line is None:
        return None
    tree = line.file.statement(line.node)
    if not isinstance(tree, ast.Assign) or not isinstance(tree.targets[0], ast.Tuple):
        return None
    bound = [n.id for n in ast.walk(tree.targets[0]) if isinstance(n, ast.Name)]
    first = tree.targets[0].elts[0]
    if isinstance(first, ast.Name) and bound.count(first.id) == 1 and first.id != "_":
        return first.id
    read = {node.id for node in ast.walk(line.tree) if isinstance(node, ast.Name)}
    last = line.source.end_line or line.source.line
    if read & set(bound) or used != last + 1:
        return None  # the same words would mean something else there
    return " ".join(line.code.split()) + "[0]"
