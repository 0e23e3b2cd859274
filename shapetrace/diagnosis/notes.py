"""What a call or a tensor did that is asked about, where nothing failed: notes."""

from __future__ import annotations

from shapetrace.diagnosis.sites import culprit_of_call
from shapetrace.diagnosis.words.text import told
from shapetrace.diagnosis.words.unexplained import where_of
from shapetrace.lineage import Call, Graph, make_step
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import Culprit, Diagnosis, FunctionCall, Step
from shapetrace.signatures import is_loss


def explain_call(graph: Graph, call: Call) -> Diagnosis:
    """What one call that went well did: a note."""
    if isinstance(call, FunctionCall):
        where, module = where_of(graph, call), graph.module_of(call)
    else:
        where, module = f"module:{call.name}", call
    outputs = ", ".join(str(ref.shape) for ref in call.outputs or ())
    inputs = ", ".join(str(ref.shape) for ref in call.inputs)
    layer = graph.layer_of(call)
    said = where
    if layer is not None and where.startswith("module:"):
        said = f"module:{graph.spoken(layer)}"
    facts = f"{said}: {inputs} -> {outputs or 'nothing'}"
    culprits: tuple[Culprit, ...] = ()
    if isinstance(call, FunctionCall) and is_loss(call.name):
        facts = _loss_facts(graph, call) or facts
    else:
        culprits = (culprit_of_call(graph, call, reason="made it"),)
    lineage: tuple[Step, ...] = ()
    for ref in call.inputs[:1]:
        lineage = tuple(make_step(graph, hop) for hop in graph.chain(ref.id))
    diagnosis = Diagnosis(
        code="explanation",
        severity="note",
        message=facts,
        where=where,
        module=module.name if module is not None else None,
        source=call.source,
        culprits=culprits,
        lineage=lineage,
        function=call.index if isinstance(call, FunctionCall) else None,
        call=module.index if module is not None else None,
    )
    return told(graph.rec, diagnosis)


def _loss_facts(graph: Graph, call: FunctionCall) -> str:
    """A loss call in a sentence: classes and who made them, the span of the targets."""
    prediction, target = sides(graph, call)
    if prediction is None or target is None:
        return ""
    text = (
        f"`{call.name}` took a prediction {prediction.shape} and a target"
        f" {target.shape}"
    )
    span = graph.rec.value_ranges.get(target.id)
    if span is not None and len(prediction.shape) > 1:
        classes = prediction.shape[1]
        end = graph.trail(prediction.id, 1).end
        layer = graph.layer_of(end.call) if end.call is not None else None
        by = ""
        if layer is not None and end.origin is not None:
            by = f" from `{graph.spoken(layer)}` ({end.origin.note})"
        text += (
            f": {classes} classes{by}; the targets span only {span[0]} to {span[1]}"
            if span[1] < classes - 1
            else f": {classes} classes{by}; the targets span {span[0]} to {span[1]}"
        )
    return text + ". Nothing failed."


def explain_last(graph: Graph, losses: tuple[FunctionCall, ...]) -> Diagnosis:
    """The last loss call, or the last call of all."""
    calls: tuple[Call, ...] = losses or graph.rec.functions or graph.rec.calls
    if not calls:
        return Diagnosis(
            code="explanation",
            severity="note",
            message=(
                "Nothing was recorded: no traced module and no torch function was "
                "called inside the `with` block."
            ),
            where="",
        )
    return explain_call(graph, calls[-1])


def explain_tensor(graph: Graph, tensor: int) -> Diagnosis:
    """Where each dimension of a tensor comes from: a note."""
    ref = graph.tensors[tensor]
    lines = []
    for dim, size in enumerate(ref.shape):
        trail = graph.trail(tensor, dim)
        end = trail.end
        if end.kind == "branch" and end.origin is not None:
            sign = " + " if end.origin.how == "sum" else "·"
            parts = sign.join(str(graph.size(*source)) for source in end.sources)
            words = (
                f"{parts} joined by `{trail.hops[-1].call.name}`"
                if trail.hops
                else parts
            )
        elif end.call is not None and end.origin is not None:
            name = graph.layer_of(end.call)
            by = graph.spoken(name) if name else end.call.name
            words = f"`{by}`: {end.origin.note or end.origin.how}"
        else:
            words = "as it came in"
        lines.append(f"dim {dim} = {size}: {words}")
    producer = graph.producer(tensor)
    where = ""
    if isinstance(producer, FunctionCall):
        where = where_of(graph, producer)
    elif producer is not None:
        where = f"module:{producer.name}"
    module = graph.module_of(producer) if producer is not None else None
    diagnosis = Diagnosis(
        code="explanation",
        severity="note",
        message=f"A tensor of shape {ref.shape}: " + "; ".join(lines),
        where=where,
        module=module.name if module is not None else None,
        source=producer.source if producer is not None else None,
        culprits=(
            (culprit_of_call(graph, producer, reason="made it"),) if producer else ()
        ),
        lineage=tuple(make_step(graph, hop) for hop in graph.chain(tensor)),
    )
    return told(graph.rec, diagnosis)
