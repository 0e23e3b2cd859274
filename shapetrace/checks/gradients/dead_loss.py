"""Losses from which no parameter learns."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import instead
from shapetrace.checks.gradients.gradient import Behind, before_it, given_anew, terms
from shapetrace.lineage.dimensions import PARAMETER, RECORDED, TRAINABLE
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind


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
