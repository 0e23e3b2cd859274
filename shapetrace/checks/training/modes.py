"""Training and evaluation mixed up."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from shapetrace.checks.facts.comparing import with_data
from shapetrace.checks.facts.steps import Steps, again, behind, outermost
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import says, with_argument
from shapetrace.checks.fixes.statements import mode_set
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Diagnosis, Fix, FunctionCall, Range
from shapetrace.signatures import drops, takes_statistics
from shapetrace.source.line import find
from shapetrace.source.scope import Scope

#: a file and a line in it
Place: TypeAlias = tuple[str, int]


@check(
    "dropout-in-eval",
    "warning",
    "F.dropout drops in evaluation too unless it is told `training=self.training`: "
    "predictions are random and worse than the model",
)
def dropout_in_eval(context: CheckContext) -> Iterator[Diagnosis]:
    learned = {call.source for call in context.of_kind("dropout") if call.grad}
    backwards = context.calls("backward")
    for call in context.of_kind("dropout"):
        module = context.graph.module_of(call)
        if module is None or not call.direct:
            continue
        if says(call, "training", 2) is not False:
            continue
        info = context.graph.rec.modules.get(module.name)
        evaluated = info is not None and not info.training
        if backwards:  # beside a training: the same call again, with autograd off
            if call.grad or call.source not in learned:
                continue
            # modes are those at the end; drawn again and again, it drops on purpose
            evaluated = evaluated and call.order > backwards[-1].order
            judged = None if evaluated else _judged(context, call)
            evaluated |= judged is not None and not _runs_again(context, call)
        if not evaluated:
            continue
        yield finding(
            context,
            call,
            f"{call.name} drops values although {context.graph.spoken(module)} "
            f"({module.type}) is evaluated: the function does not know its mode.",
            culprits=[culprit(context, call, "is not told training=self.training")],
            fixes=[
                _as_the_module(call)
                or "give it the mode of the module, or take nn.Dropout"
            ],
            shapes=[("input", call.inputs[0], None)],
            way=(call.inputs[0].id, None),
        )


def _as_the_module(call: FunctionCall) -> Fix | None:
    """The call told `training=self.training`, in a method of the module."""
    line = find(call.source)
    if line is None:
        return None
    own = Scope(line.file, line.file.home(line.node)).self_name()
    return with_argument(call, f"training={own}.training") if own else None


@check(
    "trained-in-eval",
    "warning",
    "a training step runs in evaluation mode, after others that did not: nobody called "
    "model.train() again: dropout drops nothing, batch norm learns no statistics from "
    "here on",
)
def trained_in_eval(context: CheckContext) -> Iterator[Diagnosis]:
    layers = dropping(context)
    norms = not layers
    if norms:
        layers = [c for c in context.calls("batch_norm") if _mode(c) is not None]
    if all(map(_mode, layers)):
        return
    ran, dropped = Steps(context), set[str]()
    start, places = ran.first, set[Place]()
    for backward in ran.backwards:
        steps, _ = ran.after(backward)
        if not steps and _as_before(context, ran, backward, places):
            steps = ran.steps
        if not steps:
            continue
        last = ran.inside(steps[-1])[-1:]
        since, start = start, last[0].index if last else backward.index
        ran_since = [call for call in layers if since <= call.index < backward.index]
        now = [call for call in ran_since if call.grad]
        names = {_layer(context, call) for call in now}
        if all(map(_mode, now)):
            dropped |= names
            places |= _places(context, now, steps)
            continue
        if any(map(_mode, now)) or not names <= dropped:
            continue
        # statistics may be frozen on purpose from here on, of a model in training
        tested = {_layer(context, c) for c in ran_since if not c.grad and not _mode(c)}
        if norms and not (names <= tested and _ends_in_eval(context, now[0])):
            continue
        held = set[str]().union(*map(ran.held, steps))
        if _trains(context, now[0], backward, held):
            yield _still_in_eval(context, now[0], backward)
            return


@check(
    "validated-in-training",
    "warning",
    "a validation beside the training runs in training mode: dropout drops, batch norm "
    "goes by each batch and learns from it: what is reported is not the model",
)
def validated_in_training(context: CheckContext) -> Iterator[Diagnosis]:
    layers = [call for call in dropping(context) if _drops(call)]
    norms = {call.index for call in context.calls("batch_norm") if _mode(call)}
    layers += [call for call in context.calls("batch_norm") if call.index in norms]
    trained = {_layer(context, call) for call in layers if call.grad}
    learned = {ref for call in layers if call.grad for ref in _given(context, call)}
    given = Counter((call.index in norms, call.inputs[0].id) for call in layers)
    backwards = context.by_name.get("backward", ())
    if not trained or not backwards:
        return
    for call in layers:
        # before any training a model may be called to be built, or to be looked at
        if call.grad or call.index < backwards[0].index:
            continue
        # drawn several times for one input, it is dropped on purpose
        if _layer(context, call) not in trained:
            continue
        norm = call.index in norms
        once = given[norm, call.inputs[0].id] == 1
        judged = _judged(context, call) if once else None
        if judged is None or _runs_again(context, call):
            continue
        if norm and learned & _given(context, call):
            continue  # the accuracy of a step, with the statistics that it had
        module = outermost(context, call)
        top = None if module is None else context.graph.rec.calls[module]
        name = "model" if top is None else context.graph.spoken(top)
        does = "goes by this batch" if norm else "drops values"
        yield finding(
            context,
            call,
            f"{_layer(context, call)} {does} with autograd off, and "
            f"{judged.name} at {judged.source} compares what comes of it "
            "with labels: the validation "
            "runs in training mode.",
            culprits=[culprit(context, call, f"{does}, as in training")],
            fixes=[
                (mode_set(top, "eval", "train") if top is not None else None)
                or f"call {name}.eval() before the validation, and train() after it"
            ],
            shapes=[("input", call.inputs[0], None)],
            way=(call.inputs[0].id, None),
        )
        return


def _given(context: CheckContext, call: FunctionCall) -> set[int]:
    """What the model that a call is a part of was given."""
    top = outermost(context, call)
    calls = context.graph.rec.calls
    return set() if top is None else {ref.id for ref in calls[top].inputs}


def _judged(context: CheckContext, drop: FunctionCall) -> FunctionCall | None:
    """The loss or comparison with labels that what a dropout makes comes to, where
    nothing learns from it: not a teacher's targets, nor samples of a policy."""
    made = context.descendants(ref.id for ref in drop.outputs or ())
    if any(context.axes.descends(tensor, RECORDED) for tensor in made):
        return None
    calls = (*context.losses, *context.calls("eq"))
    return with_data(context, made, (call for call in calls if not call.grad))


def _runs_again(context: CheckContext, drop: FunctionCall) -> bool:
    """Whether the same module is given the same input once more with autograd off, to
    see how much its answers differ."""
    top = outermost(context, drop)
    return top is not None and any(again(context, context.graph.rec.calls[top]))


def dropping(context: CheckContext) -> list[FunctionCall]:
    """The calls of layers that drop in training."""
    found = context.of_kind("dropout", "recurrent", "attention")
    return [call for call in found if _drops(call) is not None]


def _drops(call: FunctionCall) -> bool | None:
    """Whether dropout drops as the mode of a module says; None where it could not, or
    the user said so."""
    return None if call.direct and not _asks_the_mode(call) else drops(call)


def _asks_the_mode(call: FunctionCall) -> bool:
    """Whether the user's line names the mode of a module: `self.training`."""
    line = find(call.source)
    return line is not None and any(
        isinstance(node, ast.Attribute) and node.attr == "training"
        for node in ast.walk(line.tree)
    )


def _mode(call: FunctionCall) -> bool | None:
    """Whether a layer does what it does in training alone; None likewise."""
    normalises = call.name == "batch_norm" and not call.direct
    return takes_statistics(call) if normalises else _drops(call)


def _places(
    context: CheckContext, layers: Sequence[FunctionCall], steps: Sequence[Range]
) -> set[Place]:
    """Where the models that these layers are a part of were called, of those that were
    called in the function that makes the step: the loop of a training."""
    functions = {(one.source.file, one.source.function) for one in steps if one.source}
    tops = {outermost(context, call) for call in layers} - {None}
    made = [context.graph.rec.calls[top].source for top in tops if top is not None]
    return {
        (one.file, one.line)
        for one in made
        if one is not None and (one.file, one.function) in functions
    }


def _as_before(
    context: CheckContext, ran: Steps, backward: FunctionCall, places: set[Place]
) -> bool:
    """Whether a backward that no step follows, as the block ends before it, is that of
    one more training step: its model was called where it was for those before."""
    if not ran.steps or ran.steps[-1].order > backward.order or not places:
        return False
    tops = {outermost(context, c) for c in behind(context, backward.inputs[0].id)}
    made = [context.graph.rec.calls[top].source for top in tops if top is not None]
    return any(one is not None and (one.file, one.line) in places for one in made)


def _ends_in_eval(context: CheckContext, call: FunctionCall) -> bool:
    """Whether the model that a call is a part of is in evaluation mode at the end."""
    top = outermost(context, call)
    rec = context.graph.rec
    info = None if top is None else rec.modules.get(rec.calls[top].name)
    return info is not None and not info.training


def _layer(context: CheckContext, call: FunctionCall) -> str:
    module = context.graph.module_of(call)
    return "" if module is None else module.name


def _trains(
    context: CheckContext, drop: FunctionCall, backward: FunctionCall, held: set[str]
) -> bool:
    """Whether a step changes the model that a dropout is a part of, by what it made."""
    calls = behind(context, backward.inputs[0].id)
    top = outermost(context, drop)
    return any(call.index == drop.index for call in calls) and any(
        outermost(context, call) == top
        and context.graph.rec.origins[ref.id].name in held
        for call in calls
        for ref in call.inputs
        if context.graph.is_parameter(ref.id)
    )


def _still_in_eval(
    context: CheckContext, call: FunctionCall, backward: FunctionCall
) -> Diagnosis:
    module = outermost(context, call)
    top = None if module is None else context.graph.rec.calls[module]
    norm = call.name == "batch_norm"
    does = "learns no statistics" if norm else "drops nothing"
    return finding(
        context,
        call,
        f"{_layer(context, call)} is in evaluation mode in the step that backward() at "
        f"{backward.source} belongs to, and was in training mode in the steps before.",
        culprits=[culprit(context, call, f"{does} any more")],
        fixes=[
            (mode_set(top, "train") if top is not None else None)
            or "call train() when the evaluation is over"
        ],
        shapes=[("input", call.inputs[0], None)],
        way=(call.inputs[0].id, None),
    )
