"""Where the gradient, the devices and the results of a batch go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.checks.context import CheckContext
from shapetrace.checks.discarded import is_missed
from shapetrace.checks.gradient import Behind, before_it, given_anew, terms
from shapetrace.checks.layers import overwritten, unwatched
from shapetrace.checks.lines import instead
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, explained, finding
from shapetrace.checks.statements import chained
from shapetrace.checks.stores import Lost, lost_values
from shapetrace.lineage.dimensions import PARAMETER, RECORDED, TRAINABLE
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Severity,
    TensorRef,
)
from shapetrace.signatures import kind

_MOVES = ("to", "cpu", "cuda")
#: calls that are looked back over for an earlier move
_FAR = 64


@check(
    "dead-loss",
    "warning",
    "the loss descends from no parameter: nothing is learned from it",
)
def dead_loss(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    axes = context.axes
    started = [call for call in context.by_name.get("backward", ()) if call.inputs]
    dead = []
    for loss in context.losses:
        sides = [ref for ref in loss.inputs if ref.dtype.is_floating_point]
        # between backwards a loss without autograd on all the way learns nothing; with
        # none, it may be an evaluation
        bit = RECORDED if started and loss.grad else TRAINABLE
        if any(axes.descends(ref.id, bit) for ref in sides):
            continue
        if any(axes.descends(ref.id, PARAMETER) for ref in sides):
            dead.append(loss)
    if not started:
        alone = len(dead) == len(context.losses) and not _own_loss(context)
        if dead and alone and _training(context):
            for loss in dead:
                yield _dead(context, rule, loss, loss.name)
        return
    behind = Behind(context)
    totals: list[TensorRef] = []
    for call in started:
        ref = call.inputs[0]
        if given_anew(context, ref):
            if (loss_ref := before_it(context, call)) is not None:
                yield _dead(
                    context, rule, call, "what backward() is called on", loss_ref
                )
        elif behind.rebuilt(ref) or behind.round_trip(ref):
            yield _dead(context, rule, call, "what backward() is called on")
        elif (off := behind.autograd_off(ref)) is not None:
            yield _unrecorded(context, rule, call, off)
        elif axes.descends(ref.id, TRAINABLE) or ref.shape:
            totals.append(ref)
        elif axes.descends(ref.id, PARAMETER) and behind.told_to(call):
            yield _dead(context, rule, call, "what backward() is called on")
    learning = terms(context, totals) if dead else set()
    for loss in dead:
        if any(ref.id in learning for ref in loss.outputs or ()):
            if (off := _untracked(context, loss)) is not None:
                yield _unrecorded(context, rule, loss, off)
                continue
            yield _dead(context, rule, loss, f"{loss.name} is part of the loss and")


def _untracked(context: CheckContext, loss: FunctionCall) -> FunctionCall | None:
    """The last call with a parameter, where nothing but autograd cuts a loss off."""
    if not any(context.axes.descends(ref.id, TRAINABLE) for ref in loss.inputs):
        return None
    for _, made in context.graph.chain(loss.inputs[0].id):
        if isinstance(made, FunctionCall) and not made.grad:
            return made
    return None


def _own_loss(context: CheckContext) -> bool:
    """Whether a number that could be learned from is left over: a loss by hand."""
    return any(
        not ref.shape
        and ref.dtype.is_floating_point
        and context.axes.descends(ref.id, TRAINABLE)
        and not any(
            context.axes.descends(made.id, TRAINABLE)
            for _, made in context.follow(ref.id)
        )
        for call in context.functions
        for ref in call.outputs or ()
    )


def _training(context: CheckContext) -> bool:
    infos = context.graph.rec.modules.values()
    return bool(infos) and all(info.training for info in infos)


def _dead(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    what: str,
    held: TensorRef | None = None,
) -> Diagnosis:
    """The finding; `held` is the loss whose numbers a new tensor holds."""
    ref = held or call.inputs[0]
    cut = next(
        (
            made
            for _, made in context.graph.chain(ref.id)
            if isinstance(made, FunctionCall)
            and (kind(made.name) == "detach" or not made.inputs or _counts(made))
        ),
        None,
    )
    reason = "cuts the gradient" if cut and cut.inputs else "is a new tensor"
    if held is not None and context.axes.descends(held.id, RECORDED):
        cut, reason = call, "starts at a new tensor that holds the loss"
    return finding(
        context,
        rule,
        call,
        f"{what} descends from no parameter that could learn from it: no gradient "
        "passes.",
        culprits=[culprit(context, cut, reason) if cut is not None else None],
        fixes=[
            _uncut(cut)
            or "make the loss of what the model returns, with no detach(), .data, "
            ".item(), argmax() or Variable() between them"
        ],
        shapes=[("input", ref, None)],
        way=(ref.id, None),
    )


def _counts(call: FunctionCall) -> bool:
    """Whether integers are made of what could be learned: argmax, a comparison."""
    made, given = call.outputs or (), call.inputs[:1]
    return bool(made) and all(
        ref.dtype.is_floating_point and not one.dtype.is_floating_point
        for ref in given
        for one in made[:1]
    )


def _unrecorded(
    context: CheckContext, rule: Check, call: FunctionCall, off: FunctionCall
) -> Diagnosis:
    ref = call.inputs[0]
    module = context.graph.module_of(off)
    while module is not None and module.parent is not None:
        module = context.graph.rec.calls[module.parent]
    who = culprit(context, off, "ran with autograd off")
    if module is not None:
        who = Culprit("module", module.name, source=module.source, reason=who.reason)
    return finding(
        context,
        rule,
        call,
        "autograd was off in every layer that the loss descends from, and nothing "
        "brings it back: no gradient passes.",
        culprits=[who],
        fixes=["call the model outside of torch.no_grad()"],
        shapes=[("input", ref, None)],
        way=(ref.id, None),
    )


def _uncut(cut: FunctionCall | None) -> Fix | None:
    """The line without its `detach()`."""
    return instead(cut, "{}") if cut and kind(cut.name) == "detach" else None


@check(
    "device-transfer",
    "warning",
    "a tensor leaves its device and comes back inside of forward: each way waits for "
    "the device and copies",
)
def device_transfer(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls(*_MOVES):
        if call.parent is None or not call.inputs or not call.outputs:
            continue
        given, made = call.inputs[0], call.outputs[0]
        if given.device == made.device or not made.dtype.is_floating_point:
            continue
        if "cpu" not in (given.device.type, made.device.type):
            continue  # a model spread over several accelerators
        for count, (_, earlier) in enumerate(context.graph.chain(given.id)):
            if count > _FAR or not isinstance(earlier, FunctionCall):
                break
            if not earlier.inputs or not earlier.outputs or earlier.parent is None:
                break
            start, end = earlier.inputs[0].device, earlier.outputs[0].device
            if start == made.device and end == given.device and start != end:
                yield finding(
                    context,
                    rule,
                    call,
                    f"a tensor of {given.shape} goes from {start} to {end} at "
                    f"{earlier.source} and back to {start} here.",
                    culprits=[
                        culprit(context, earlier, f"moves it to {end}"),
                        culprit(context, call, f"moves it back to {start}"),
                    ],
                    fixes=[f"leave {earlier.name}() out, and let it stay on {start}"],
                    shapes=[("input", given, None)],
                    way=(given.id, None),
                )
                break


@check(
    "unused-output",
    "note",
    "nothing uses what a module has computed: a dead branch, or a forgotten return",
)
def unused_output(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    rec = context.graph.rec
    used = {ref.id for call in rec.functions for ref in call.inputs}
    used |= {ref.id for call in rec.calls for ref in call.inputs}
    for call in rec.calls:
        # what a forward that was cut short would have done with it is not known
        if call.parent is None or rec.calls[call.parent].error is not None:
            used |= {ref.id for ref in call.outputs or ()}
    unused = {
        call.index
        for call in rec.calls
        if call.parent is not None
        and call.outputs
        and call.error is None
        and not unwatched(call)
        and not any(ref.id in used for ref in call.outputs)
    }
    for lost, last in overwritten(context):
        unused -= {call.index for call in lost}
        yield _overwritten(context, rule, lost, last)
    for store in lost_values(context):
        unused.discard(store.call.index if isinstance(store.call, ModuleCall) else -1)
        yield _lost(context, rule, store)
    seen: set[str] = set()
    for index in sorted(unused):
        call = rec.calls[index]
        if call.parent not in unused and call.name not in seen:
            seen.add(call.name)
            severity: Severity | None = None
            if is_missed(context, call):
                severity = "warning"
            yield _unused(context, rule, call, severity)


def _overwritten(
    context: CheckContext, rule: Check, lost: list[ModuleCall], last: ModuleCall
) -> Diagnosis:
    """`for layer in layers: out = layer(x)`: each layer is given the first input."""
    *names, kept = (context.graph.spoken(call) for call in (*lost, last))
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    found = _unused(context, rule, lost[-1], "warning")
    message = (
        f"{shown} and {kept} are all given the same input, and only what "
        f"{kept} makes of it is used: the work of the others is thrown away."
    )
    fix = chained(lost[-1].source, last.source)
    found = replace(found, message=message, fixes=() if fix is None else (fix,))
    words = "give each layer what the one before it made"
    return explained(
        context.graph.rec,
        found,
        [("input", ref, None) for ref in last.inputs[:1]],
        "" if fix is not None else words,
    )


def _lost(context: CheckContext, rule: Check, store: Lost) -> Diagnosis:
    """`out = f(x)` above `out = g(x)`: what f has made is given up."""
    call, name = store.call, ast.unparse(store.later.targets[0])
    next_line = store.line.file.place(store.later)
    message = (
        f"nobody uses {name}, which {call.name} makes here: {next_line} gives the name "
        "another value, and the work is thrown away."
    )
    if isinstance(call, ModuleCall):
        found = replace(_unused(context, rule, call, "warning"), message=message)
        return explained(context.graph.rec, found, [("output", store.made, None)])
    return finding(
        context,
        rule,
        call,
        message,
        culprits=[culprit(context, call, "makes what is thrown away")],
        shapes=[("output", store.made, None)],
        way=(store.made.id, None),
        severity="warning",
    )


def _unused(
    context: CheckContext,
    rule: Check,
    call: ModuleCall,
    severity: Severity | None = None,
) -> Diagnosis:
    message = (
        f"no later call uses what {context.graph.spoken(call)} ({call.type}) returns."
    )
    found = Diagnosis(
        code=rule.code,
        severity=severity or rule.severity,
        message=message,
        where=f"module:{call.name}",
        module=call.name,
        source=call.source,
        culprits=(Culprit("module", call.name, source=call.source),),
        call=call.index,
    )
    shapes = [("output", ref, None) for ref in call.outputs or ()]
    return explained(context.graph.rec, found, shapes[:3])
