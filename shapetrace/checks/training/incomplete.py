"""Training steps that lack a part: a backward, a step, or both for most batches."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator

from shapetrace.checks.facts.steps import Steps, behind, outermost
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.statements import backward_before, step_behind, stepping
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Culprit, Diagnosis, FunctionCall, Range, Source
from shapetrace.source.line import Line, find

#: losses that nothing has used before that is no chance
_LOST = 2


@check(
    "incomplete-step",
    "warning",
    "a part of the training step is missing, so that most batches, or all, teach the "
    "model nothing: losses without backward(), or gradients without step()",
)
def incomplete_step(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    if ran.incomplete or context.graph.rec.left_out is not None:
        return  # what seems to be missing may have been dropped
    if not ran.backwards:
        yield from _never_back(context, rule, ran)
    elif not ran.steps:
        yield from _never_stepped(context, rule, ran)
    else:
        yield from _lost_losses(context, rule, ran)
        yield from _one_never_steps(context, rule, ran)


def _never_back(context: CheckContext, rule: Check, ran: Steps) -> Iterator[Diagnosis]:
    """An optimizer that finds no gradients, and a loss that could have made some."""
    if not ran.steps or any(ran.inside(step) for step in ran.steps):
        return
    step = ran.steps[0]
    losses = [
        loss
        for loss in context.losses
        if loss.grad and loss.order < step.order and _learns(context, loss)
    ]
    if not losses:
        return
    loss = losses[-1]
    yield finding(
        context,
        rule,
        loss,
        f"step() at {step.source} changes no parameter: backward() is never called on "
        f"the {loss.name}, and there are no gradients.",
        culprits=[
            Culprit("function", "step", source=step.source, reason="finds no gradient"),
            culprit(context, loss, "is never differentiated"),
        ],
        fixes=[
            backward_before(step.source, _total(context, loss, step))
            or "call backward() on the loss before step()"
        ],
        way=((loss.outputs or ())[0].id, None),
    )


def _learns(context: CheckContext, loss: FunctionCall) -> bool:
    return any(context.axes.descends(r.id, RECORDED) for r in loss.outputs or ())


def _total(context: CheckContext, loss: FunctionCall, step: Range) -> FunctionCall:
    """The last number that is made of a loss before a step; what is added up over
    several steps goes on behind it."""
    total, following = loss, [loss]
    while following:
        total = following[0]
        following = [
            user
            for ref in total.outputs or ()
            for user, made in context.follow(ref.id)
            if not made.shape and user.grad and user.order < step.order
        ]
    return total


def _never_stepped(
    context: CheckContext, rule: Check, ran: Steps
) -> Iterator[Diagnosis]:
    """Gradients that an optimizer clears again and again, and nothing has read."""
    thrown = (
        (backward, clear)
        for backward, following in zip(ran.backwards, ran.backwards[1:])
        for clear in ran.clears
        if backward.order < clear.order < following.order
    )
    backward, clear = next(thrown, (None, None))
    if backward is None or clear is None or _read(context, ran.backwards[0]):
        return
    total = backward.inputs[0]
    reason = "makes gradients that no step() uses"
    yield finding(
        context,
        rule,
        backward,
        f"zero_grad() at {clear.source} clears the gradients that backward() has made, "
        "and nothing has used them: step() is never called.",
        culprits=[
            Culprit("function", "backward", source=backward.source, reason=reason),
            Culprit("function", "zero_grad", source=clear.source),
        ],
        fixes=[
            step_behind(backward, clear.source) or "call step() after each backward()"
        ],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )


def _one_never_steps(
    context: CheckContext, rule: Check, ran: Steps
) -> Iterator[Diagnosis]:
    """Of several optimizers one that is cleared in every step, and never steps, though
    a backward makes gradients for none but what no step changes."""
    steps = {name for step in ran.steps if (name := _called(step, stepping))}
    clears: dict[str, list[Range]] = {}
    for clear in ran.clears:
        name = _called(clear, _clearing)
        if name is not None and name not in steps:
            clears.setdefault(name, []).append(clear)
    if len(clears) != 1:
        return
    ((name, cleared),) = clears.items()
    for backward in ran.backwards if len(cleared) > 1 else ():
        reached = _reached(context, backward)
        if not reached or reached & ran.trained or not ran.trained:
            continue
        module = _around(reached)
        source = cleared[0].source
        yield finding(
            context,
            rule,
            backward,
            f"backward() gives {context.graph.said(module)} gradients, and {name} is "
            f"cleared at {source} each time: {name}.step() is never called.",
            culprits=[
                Culprit("module", module, reason="gets gradients that no step uses"),
                Culprit("function", "backward", source=backward.source),
            ],
            fixes=[
                step_behind(backward, source)
                or f"call {name}.step() after this backward()"
            ],
            shapes=[("loss", backward.inputs[0], None)],
            way=(backward.inputs[0].id, None),
        )
        return


def _called(one: Range, name: Callable[[Line], str | None]) -> str | None:
    """What an optimizer is called where it steps, or is cleared."""
    line = find(one.source)
    return None if line is None else name(line)


def _clearing(line: Line) -> str | None:
    func = line.tree.func if isinstance(line.tree, ast.Call) else None
    if not isinstance(func, ast.Attribute) or func.attr != "zero_grad":
        return None
    return line.text(func.value)


def _reached(context: CheckContext, backward: FunctionCall) -> set[str]:
    """The parameters that learn from what is differentiated, by their names."""
    origins = context.graph.rec.origins
    taken = (
        origins[ref.id]
        for call in behind(context, backward.inputs[0].id)
        for ref in call.inputs
        if context.graph.is_parameter(ref.id)
    )
    return {origin.name for origin in taken if origin.requires_grad}


def _around(parameters: set[str]) -> str:
    """The innermost module that holds them all."""
    paths = [name.split(".")[:-1] for name in parameters]
    shared = zip(*paths, strict=False)
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, shared)
    return ".".join(parts[0] for parts in same)


def _read(context: CheckContext, backward: FunctionCall) -> bool:
    """Whether anything takes a gradient after a backward, or writes to a parameter: a
    step of one's own, a norm that is looked at, a scaler. That `grad` is read is not
    recorded, so that any new tensor of the shape of what learns may be one."""
    graph, data = context.graph, context.module_inputs | context.targets
    shapes, known = set[tuple[int, ...]](), set[int]()
    for call in graph.rec.functions:
        after = call.index > backward.index
        if call.name == "requires_grad_":
            shapes |= {ref.shape for ref in call.inputs}
        for ref in call.inputs:
            origin = graph.origin(ref.id)
            if origin is None:
                continue
            if origin.requires_grad:
                shapes.add(ref.shape)
            if graph.is_parameter(ref.id):
                if after and not call.grad:
                    return True
            elif not after or ref.id in data:
                known.add(ref.id)
            elif ref.shape in shapes and ref.id not in known:
                return True
    return False


def _lost_losses(context: CheckContext, rule: Check, ran: Steps) -> Iterator[Diagnosis]:
    """Losses of a loop of which the last alone is differentiated: the backward stands
    behind the loop."""
    users, begin = context.graph.users, -1
    lost: dict[tuple[Source | None, Source | None], list[FunctionCall]] = {}
    for backward in ran.backwards:
        now = [one for one in context.losses if begin < one.order < backward.order]
        begin = backward.order
        made = {call.index for call in behind(context, backward.inputs[0].id)}
        used = {_place(context, one) for one in now if one.index in made}
        for one in now:
            unused = not any(users.get(ref.id) for ref in one.outputs or ())
            if unused and one.grad and one.index not in made and _learns(context, one):
                if _place(context, one) in used:
                    lost.setdefault(_place(context, one), []).append(one)
    for calls in lost.values():
        if len(calls) >= _LOST:
            yield _lost(context, rule, calls, ran.backwards[-1], ran.steps[0])


def _place(
    context: CheckContext, loss: FunctionCall
) -> tuple[Source | None, Source | None]:
    """Where a loss is computed, and where the model was called that it is computed of:
    a validation may use the same function."""
    sides = context.sides.get(loss.index)
    made = None if sides is None else context.made_by(context.undressed(sides[0].id))
    top = None if made is None else outermost(context, made)
    called = None if top is None else context.graph.rec.calls[top].source
    return loss.source, called


def _lost(
    context: CheckContext,
    rule: Check,
    calls: list[FunctionCall],
    backward: FunctionCall,
    step: Range,
) -> Diagnosis:
    first = calls[0]
    reason = "is called for the last loss of the loop alone"
    return finding(
        context,
        rule,
        first,
        f"{len(calls)} results of {plain(first.name)} are used by nothing: backward() "
        f"at {backward.source} is called for the last one of each loop alone.",
        culprits=[
            Culprit("function", "backward", source=backward.source, reason=reason),
            culprit(context, first, "makes losses that nobody uses"),
        ],
        fixes=[
            "move zero_grad(), backward() and step() into the loop, so that they are "
            f"called for each batch, not only that at {step.source}"
        ],
        shapes=[("loss", ref, None) for ref in (first.outputs or ())[:1]],
        way=((first.outputs or ())[0].id, None),
    )
