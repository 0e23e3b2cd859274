"""From a recording to a `Diagnosis`: which call failed, what clashes, who did it."""

from __future__ import annotations

from dataclasses import replace

from shapetrace.diagnosis.blame import blame
from shapetrace.diagnosis.fixes import propose
from shapetrace.diagnosis.operands import operands
from shapetrace.diagnosis.plain import behind_forward, handed_on, in_forward
from shapetrace.diagnosis.problem import Problem, find_problem, from_module
from shapetrace.diagnosis.sentence import first_line, sentence
from shapetrace.diagnosis.suspects import of_call
from shapetrace.diagnosis.text import told
from shapetrace.diagnosis.unexplained import unexplained, where_of
from shapetrace.lineage import Call, GoodBatch, Graph, last_good, make_step, steps
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import (
    CallError,
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Step,
)
from shapetrace.signatures import is_loss

_SILENT = ("KeyboardInterrupt", "SystemExit", "GeneratorExit", "StopIteration")


def diagnose_failure(graph: Graph) -> Diagnosis | None:
    """The diagnosis of the call that raised; None when nothing did, or when what was
    raised was caught where it arose, inside a module that went on."""
    call, module = failing(graph)
    failed = call or module
    try:
        if failed is None:
            return _rendered(behind_forward(graph))
        return _explained(graph, call, module)
    except Exception as fault:  # a fault of ours costs the explanation, not the trace
        return unexplained(graph, failed, fault) if failed is not None else None


def _explained(
    graph: Graph, call: FunctionCall | None, module: ModuleCall | None
) -> Diagnosis | None:
    if call is not None:
        return _of_function(graph, call)
    assert module is not None
    given = handed_on(graph, module)
    function = from_module(graph, module)
    problem = find_problem(graph, function) if function is not None else None
    if problem is not None and given is None and problem.kind != "other":
        return _of_function(graph, problem.call, module)
    found = in_forward(graph, module)
    if problem is not None and given is not None:
        whole = replace(problem, kind="container")
        fixes = _fixes(graph, whole, found.culprits)
        found = replace(found, fixes=fixes or found.fixes)
    return _rendered(found)


def _rendered(found: Diagnosis | None) -> Diagnosis | None:
    return found and told(found)


def failing(graph: Graph) -> tuple[FunctionCall | None, ModuleCall | None]:
    """The function that raised, or the innermost module when plain Python did."""
    rec = graph.rec
    if rec.error is not None and rec.error.type in _SILENT:
        return None, None
    asserted = _asserted(graph)
    if asserted is not None:
        return asserted, None
    ids = {rec.error.id} if rec.error is not None else None
    for call in rec.functions:
        if call.error is None or call.error.type in _SILENT:
            continue
        if call.name == "_assert":  # the user's own check, not a function that failed
            continue
        if ids is not None:
            if call.error.id in ids:
                return call, None
        elif _left_the_modules(graph, call):
            return call, None
    failed = [
        module
        for module in rec.calls
        if module.error is not None
        and module.error.type not in _SILENT
        and (module.error.id in ids if ids is not None else _reached_top(graph, module))
    ]
    if failed:
        return None, max(failed, key=lambda module: module.depth)
    return None, None


def _asserted(graph: Graph) -> FunctionCall | None:
    """The loss whose class index broke a kernel on an accelerator: the assert comes up
    in some later call, but the span of the targets was read before the launch."""
    rec = graph.rec
    errors = [rec.error, *(call.error for call in rec.functions)]
    error = next((e for e in errors if e and "device-side assert" in e.message), None)
    if error is None:
        return None
    for call in rec.functions:
        prediction, target = sides(graph, call) if is_loss(call.name) else (None, None)
        if prediction is None or target is None or len(prediction.shape) < 2:
            continue
        span = rec.value_ranges.get(target.id)
        ignored = call.kwargs.get("ignore_index", -100)
        if span and (span[1] >= prediction.shape[1] or span[0] < min(0, ignored)):
            message = f"Target {span[1]} is out of bounds."
            return replace(call, error=CallError("IndexError", message, error.id))
    return None


def _left_the_modules(graph: Graph, call: FunctionCall) -> bool:
    """Whether an error went on to the user's code, through every module around it."""
    module = graph.module_of(call)
    return module is None or (
        module.error is not None
        and call.error is not None
        and module.error.id == call.error.id
        and _reached_top(graph, module)
    )


def _reached_top(graph: Graph, module: ModuleCall) -> bool:
    while module.parent is not None:
        above = graph.rec.calls[module.parent]
        if above.error is None:
            return False
        module = above
    return True


def _of_function(
    graph: Graph, call: FunctionCall, module: ModuleCall | None = None
) -> Diagnosis:
    problem = find_problem(graph, call)
    culprits = blame(graph, problem)
    good = last_good(graph, call) if call.index >= 0 else None
    if good is not None:
        culprits = _since(graph, good, culprits)
    enclosing = module or graph.module_of(call)
    where = f"module:{module.name}" if module is not None else where_of(graph, call)
    message = sentence(graph, problem, where)
    diagnosis = Diagnosis(
        code="failure",
        severity="error",
        message=message,
        where=where,
        module=enclosing.name if enclosing is not None else None,
        source=call.source,
        culprits=culprits,
        lineage=way_back(graph, problem),
        fixes=_fixes(graph, problem, culprits),
        function=call.index if call.index >= 0 else None,
        call=enclosing.index if enclosing is not None else None,
        operands=operands(graph, problem),
        remarks=_remarks(problem, message, good),
    )
    return told(diagnosis)


def _remarks(problem: Problem, message: str, good: GoodBatch | None) -> tuple[str, ...]:
    """What else there is to say: of an earlier batch, and PyTorch's own words where
    they are not said yet."""
    found = []
    if good is not None:
        found.append(f"An earlier batch went through here. Since then: {good}.")
    error = problem.call.error
    said = first_line(error.message) if error is not None else ""
    if error is not None and said and said not in message:
        found.append(f"PyTorch said: {error.type}: {said}")
    return tuple(found)


def _since(
    graph: Graph, good: GoodBatch, culprits: tuple[Culprit, ...]
) -> tuple[Culprit, ...]:
    """An earlier batch went through the same call: who kept its size is the culprit."""
    if good.culprit is None:
        return culprits
    kept = of_call(
        graph,
        good.culprit,
        size=good.value,
        expected=good.changes[0].now,
        reason=f"still has the {good.value} of the batch before",
    )
    same = (kept.kind, kept.name)
    return (kept, *(c for c in culprits if (c.kind, c.name) != same))[:3]


def _fixes(
    graph: Graph, problem: Problem, culprits: tuple[Culprit, ...]
) -> tuple[Fix, ...]:
    try:
        return propose(graph, problem, culprits)
    except Exception:  # an explanation without a fix is better than none
        return ()


def way_back(graph: Graph, problem: Problem) -> tuple[Step, ...]:
    """The steps behind the odd dimension, newest first."""
    for spot in problem.spots:
        if spot.tensor is None or graph.is_parameter(spot.tensor):
            continue
        if spot.dim is None:
            return tuple(make_step(graph, hop) for hop in graph.chain(spot.tensor))
        return steps(graph, spot.tensor, spot.dim)
    return ()


def explain_call(graph: Graph, call: Call) -> Diagnosis:
    """What one call that went well did: a note."""
    if isinstance(call, FunctionCall):
        where, module = where_of(graph, call), graph.module_of(call)
    else:
        where, module = f"module:{call.name}", call
    outputs = ", ".join(str(ref.shape) for ref in call.outputs or ())
    inputs = ", ".join(str(ref.shape) for ref in call.inputs)
    facts = f"{where}: {inputs} -> {outputs or 'nothing'}"
    culprits: tuple[Culprit, ...] = ()
    if isinstance(call, FunctionCall) and is_loss(call.name):
        facts = _loss_facts(graph, call) or facts
    else:
        culprits = (of_call(graph, call, reason="made it"),)
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
    return told(diagnosis)


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
        by = f" from `{layer.name}` ({end.origin.note})" if layer and end.origin else ""
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
            by = (name.name or name.type) if name else end.call.name
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
        culprits=(of_call(graph, producer, reason="made it"),) if producer else (),
        lineage=tuple(make_step(graph, hop) for hop in graph.chain(tensor)),
    )
    return told(diagnosis)
