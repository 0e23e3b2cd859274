"""Optimizers whose steps leave alone what the loss was to train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.facts.steps import (
    Steps,
    behind,
    frozen_in,
    outermost,
    without_autograd,
)
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import in_other_order
from shapetrace.checks.fixes.statements import of_this_model, with_group
from shapetrace.checks.gradients.gradient import given_anew
from shapetrace.checks.modules.renewed import made_anew
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Range,
    TensorRef,
)
from shapetrace.signatures import kind
from shapetrace.source.called import module_path

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8


class Layer(NamedTuple):
    """What learns: a layer whose parameters a loss reaches, or a parameter that a
    module with layers of its own holds beside them; by a call that used it, and the
    tensors that went into any."""

    name: str
    module: str
    call: FunctionCall
    trained: bool
    given: frozenset[int]


@check(
    "step-without-effect",
    "warning",
    "optimizer.step() after backward() changes nothing: the gradients were cleared "
    "before it, or the optimizer holds none of the parameters that the loss reaches",
)
def step_without_effect(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    if not ran.steps:
        return
    for backward in ran.backwards[:_FIRST]:
        steps, clears = ran.after(backward)
        idle = [step for step in steps if step.source in ran.idle]
        total = backward.inputs[0]
        if not idle or not context.axes.descends(total.id, RECORDED):
            continue
        if given_anew(context, total):  # no optimizer's mistake
            continue
        if len(idle) == len(steps):
            yield _idle(context, rule, backward, steps[0], clears)
            continue
        for module in without_autograd(context, backward):
            yield _switched_off(context, rule, backward, idle[0], module)


def _idle(
    context: CheckContext,
    rule: Check,
    backward: FunctionCall,
    step: Range,
    clears: Sequence[Range],
) -> Diagnosis:
    total = backward.inputs[0]
    if clears:
        clear = clears[0]
        message = (
            f"step() at {step.source} changes no parameter: zero_grad() at "
            f"{clear.source} clears what backward() has made just before it."
        )
        reason = "clears the gradients before they are used"
        who = Culprit("function", "zero_grad", source=clear.source, reason=reason)
        fix: Fix | str = (
            in_other_order(backward.source, clear.source)
            or "clear the gradients before backward(), or after step()"
        )
    elif (new := _begins_anew(context, total)) is not None:
        message = (
            f"step() at {step.source} changes no parameter: the loss begins at a new "
            f"tensor of {new.outputs[0].shape if new.outputs else ()}, which "
            f"{new.source} makes of numbers and tells to require a gradient."
        )
        who = culprit(context, new, "makes a tensor of numbers, which no model made")
        fix = (
            "compute the loss of what the model returns, by functions that have a "
            "gradient: argmax(), comparisons, .item() and torch.tensor() have none"
        )
    else:
        message = (
            f"step() at {step.source} changes no parameter: its optimizer holds none "
            "that the loss reaches."
        )
        reason = "finds no gradient"
        who = Culprit("function", "step", source=step.source, reason=reason)
        called = context.graph.rec.calls[:1]
        model = called[0].name if called else ""
        path = module_path(context.graph.rec, model)
        fix = (
            of_this_model(step.source, f"{path}.parameters()")
            or f"build the optimizer with {path}.parameters(), of the model as it is "
            "trained, after it was changed"
        )
    return finding(
        context,
        rule,
        backward,
        message,
        culprits=[who],
        fixes=[fix],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )


def _begins_anew(context: CheckContext, total: TensorRef) -> FunctionCall | None:
    """The `torch.tensor(…, requires_grad=True)` that a total comes of, and of nothing
    else that learns."""
    made = behind(context, total.id)
    leaves = [call for call in made if not call.inputs]
    taken = (ref.id for call in made for ref in call.inputs)
    if len(leaves) != 1 or any(context.graph.is_parameter(one) for one in taken):
        return None
    return leaves[0] if leaves[0].name == "tensor" else None


def _switched_off(
    context: CheckContext,
    rule: Check,
    backward: FunctionCall,
    step: Range,
    module: ModuleCall,
) -> Diagnosis:
    """One of several optimizers has nothing to do, and a module in training, of which
    the loss is made, runs under `no_grad`."""
    total = backward.inputs[0]
    reason = "runs under no_grad"
    who = Culprit("module", module.name, source=module.source, reason=reason)
    path = module_path(context.graph.rec, module.name)
    return finding(
        context,
        rule,
        backward,
        f"step() at {step.source} changes no parameter: no gradient reaches "
        f"{context.graph.said(module.name)}, which runs with autograd off.",
        culprits=[
            who,
            Culprit("function", "step", source=step.source, reason="has nothing to do"),
        ],
        fixes=[f"call {path} outside of torch.no_grad()"],
        shapes=[("loss", total, None)],
        way=(total.id, None),
    )


@check(
    "layer-never-trained",
    "warning",
    "an optimizer trains what comes before a layer, and not the layer: it stays at its "
    "first random values",
)
def layer_never_trained(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    ran = Steps(context)
    # what the middle of a long run has trained is not known
    if not ran.steps or context.graph.rec.left_out is not None:
        return
    told: set[str] = set()
    for backward in ran.backwards[:_FIRST]:
        steps, _ = ran.after(backward)
        if not steps or not ran.trained:
            continue
        layers = _reached(context, backward, ran.trained)
        left = [layer for layer in layers if not layer.trained]
        if not left or 2 * len(left) > len(layers):
            continue
        sure = [one for one in left if _belongs(context, one, layers)]
        left = [one for one in left if one in sure or _behind(context, one, sure)]
        if left:  # what is made anew is told by itself
            told.update(
                layer.name
                for call, _, _ in made_anew(context)
                if (layer := context.graph.module_of(call)) is not None
            )
        new = [one for one in left if one.name not in told]
        told.update(one.name for one in new)
        if new:
            yield _left_out(context, rule, new, steps[-1], ran.incomplete)


def _reached(
    context: CheckContext, backward: FunctionCall, known: set[str]
) -> list[Layer]:
    """The layers whose parameters a total reaches, in the mode of those that a step
    trains."""
    modules = context.graph.rec.modules
    inner = {name.rpartition(".")[0] for name in modules if name}
    frozen = frozen_in(context)
    found: dict[str, Layer] = {}
    for call in behind(context, backward.inputs[0].id):
        for ref in call.inputs:
            origin = context.graph.origin(ref.id)
            if origin is None or origin.kind != "parameter":
                continue
            module = origin.name.rpartition(".")[0]
            name = origin.name if module in inner else module
            if not origin.requires_grad or module not in modules:
                continue
            if not name or ref.id in frozen:
                continue
            before = found.get(name, Layer(name, module, call, False, frozenset()))
            trained = before.trained or origin.name in known
            given = before.given.union(one.id for one in call.inputs)
            found[name] = before._replace(trained=trained, given=given)
    layers = sorted(found.values(), key=lambda layer: layer.call.index)
    in_training = [one for one in layers if modules[one.module].training]
    # modes are those at the end, when all of a model may be in evaluation
    return in_training if any(one.trained for one in in_training) else layers


def _belongs(context: CheckContext, left: Layer, layers: Sequence[Layer]) -> bool:
    """Whether a layer stands behind a trained one of the same model, and before another
    or before the labels: neither features that are taken as they are, nor a critic."""
    top = outermost(context, left.call)
    trained = [one.call.index for one in layers if one.trained]
    functions = context.graph.rec.functions
    own = {i for i in trained if outermost(context, functions[i]) == top}
    before = {
        call.index for ref in left.call.inputs for call in behind(context, ref.id)
    }
    if top is None or not own & before:
        return False
    made = context.descendants(ref.id for ref in left.call.outputs or ())
    if any(ref.id in made for i in own - before for ref in functions[i].inputs):
        return True
    return any(
        given.id in made and target is not None and _is_label(context, target)
        for given, target in _compared(context)
    )


def _behind(context: CheckContext, left: Layer, others: Sequence[Layer]) -> bool:
    """Whether a layer takes what one of the others of the same model has made."""
    top = outermost(context, left.call)
    calls = [one.call for one in others if outermost(context, one.call) == top]
    made = context.descendants(ref.id for call in calls for ref in call.outputs or ())
    return not made.isdisjoint(left.given)


def _compared(context: CheckContext) -> Iterator[tuple[TensorRef, TensorRef | None]]:
    """What is compared, and with what: by torch's losses, by a difference that is
    squared, by the score that a label picks among those of its row."""
    yield from context.sides.values()
    for call in context.calls("sub", "rsub"):
        if len(call.inputs) == 2 and compares(context, call):
            yield call.inputs
            yield call.inputs[::-1]
    for call in context.of_kind("pick"):
        given, index = call.inputs[0], call.inputs[-1]
        last = argument(call, "dim", 1)
        if call.name == "getitem":  # `scores[torch.arange(n), labels]`
            at = call.args[1]
            last = -1 if isinstance(at, tuple) and len(at) == len(given.shape) else None
            if last is not None and at[-1] != index:
                continue
        rank = len(given.shape)
        if last in (-1, rank - 1) and given.id != index.id:
            yield given, index


def _is_label(context: CheckContext, target: TensorRef) -> bool:
    """Whether a target came with the data: no constant for real or fake ones."""
    made = context.made_by(context.undressed(target.id))
    filled = made is not None and kind(plain(made.name)) == "fill"
    return not filled and context.is_raw_data(target.id)


def _left_out(
    context: CheckContext,
    rule: Check,
    left: Sequence[Layer],
    step: Range,
    incomplete: bool,
) -> Diagnosis:
    """The finding; a note where the first steps of a long trace were dropped, which
    may have trained the layers."""
    names = [_said(context, one) for one in left]
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    given = _parameters(context, left)
    first = left[0].call
    made = first.outputs or ()
    return finding(
        context,
        rule,
        first,
        f"backward() gives {shown} a gradient, and no step() "
        f"{'that was kept ' if incomplete else ''}changes "
        f"{'them' if len(left) > 1 else 'it'}: the optimizer at {step.source} trains "
        "the layers before, and holds others than these.",
        culprits=_untrained(left),
        fixes=[with_group(step.source, given) or f"give the optimizer {given} as well"],
        shapes=[("output", ref, None) for ref in made[:1]],
        way=(made[0].id, None) if made else None,
        severity="note" if incomplete else None,
    )


def _said(context: CheckContext, one: Layer) -> str:
    return context.graph.said(one.name) if one.name == one.module else one.name


def _untrained(left: Sequence[Layer]) -> list[Culprit]:
    """The modules, each with what of it is not trained."""
    held: dict[str, list[Layer]] = {}
    for one in left:
        held.setdefault(one.module, []).append(one)
    found = []
    for module, ones in held.items():
        names = [one.name.rpartition(".")[2] for one in ones if one.name != module]
        reason = "is not trained"
        if names:
            reason = f"holds {' and '.join(names)}, which no step changes"
        source = ones[0].call.source
        found.append(Culprit("module", module, source=source, reason=reason))
    return found


def _parameters(context: CheckContext, left: Sequence[Layer]) -> str:
    """What an optimizer is to be given for them."""
    paths = [module_path(context.graph.rec, one.module) for one in left]
    whole = [one.name == one.module for one in left]
    if whole == [True]:
        return f"{paths[0]}.parameters()"
    each = (
        f"*{path}.parameters()" if all_ else f"{path}.{one.name.rpartition('.')[2]}"
        for one, path, all_ in zip(left, paths, whole, strict=True)
    )
    return f"[{', '.join(each)}]"
