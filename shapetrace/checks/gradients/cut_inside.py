"""Layers that nothing teaches, since what they make is taken out of autograd inside of
the model and put into the layers behind as data."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace

from shapetrace.checks.facts.steps import behind, frozen_in, outermost
from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import without_data
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.source.line import find
from shapetrace.source.tree import last_name

#: what gives the numbers of a tensor without what they were made of
_OUT = ("data", "numpy", "tolist")
#: what makes a tensor of such numbers
_IN = ("tensor", "as_tensor", "asarray")
#: what makes a number of one value, and what is then made of such numbers in the code
_NUMBERS = ("item", "float")
_MAKES = (*_IN, "Tensor", "FloatTensor")


@check(
    "layer-cut-off",
    "warning",
    "layers learn nothing: what they make is taken out of autograd inside of the "
    "model, and the layers behind get it as data",
)
def layer_cut_off(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    numbers = [
        call for call in context.calls(*_NUMBERS) if _made_of_numbers(call) is not None
    ]
    cuts = [
        call
        for call in (*context.calls(*_OUT), *numbers)
        if call.parent is not None and call.inputs and _given(context, call) is not None
    ]
    totals = [call.inputs[0] for call in context.calls("backward") if call.inputs]
    if not cuts or not totals:
        return
    learned = [call for total in totals for call in behind(context, total.id)]
    reached = _weights(context, learned)
    for cut in cuts:
        given = _given(context, cut)
        if given is None:
            continue
        own = behind(context, given.id)
        weights = _weights(context, own)
        if not weights or weights & reached or not _in_training(context, weights):
            continue
        if _goes_on(context, cut, learned):
            yield _found(context, rule, cut, own, given)


def _given(context: CheckContext, cut: FunctionCall) -> TensorRef | None:
    """What is taken out: before a `detach()`, that NumPy asks for."""
    ref = cut.inputs[0]
    while not context.axes.descends(ref.id, RECORDED) and cut.name != "data":
        made = context.made_by(ref.id)
        if made is None or not made.inputs or plain(made.name) not in SAME_VALUES:
            break
        ref = made.inputs[0]
    return ref if context.axes.descends(ref.id, RECORDED) else None


def _made_of_numbers(cut: FunctionCall) -> ast.Call | None:
    """`torch.tensor([a.item(), b.item()])`, `torch.Tensor([a, b])`: the call that makes
    a tensor of what was made a number in it."""
    line = find(cut.source) if plain(cut.name) in _NUMBERS else None
    node: ast.AST | None = None if line is None else line.tree
    while line is not None and isinstance(node, ast.expr | ast.comprehension):
        if isinstance(node, ast.Call) and last_name(node.func) in _MAKES:
            return node
        node = line.file.parents.get(node)
    return None


def _weights(context: CheckContext, calls: Iterable[FunctionCall]) -> set[str]:
    """The parameters that are to learn, of those that some calls take."""
    frozen, found = frozen_in(context), set[str]()
    for call in calls:
        for ref in call.inputs:
            origin = context.graph.origin(ref.id)
            if origin is None or origin.kind != "parameter" or ref.id in frozen:
                continue
            if origin.requires_grad:
                found.add(origin.name)
    return found


def _in_training(context: CheckContext, weights: set[str]) -> bool:
    modules = context.graph.rec.modules
    infos = [modules.get(name.rpartition(".")[0]) for name in weights]
    return all(info is not None and info.training for info in infos)


def _goes_on(
    context: CheckContext, cut: FunctionCall, learned: list[FunctionCall]
) -> bool:
    """Whether a layer of the same model that learns takes what was cut off: the target
    of a loss is to have no gradient, and a frozen network's features may stand in it.
    """
    begun = [ref.id for ref in cut.outputs or ()]
    if not begun:  # it comes back from NumPy, or from a list
        begun = list(_back(context, cut))
    made, top = context.descendants(begun), outermost(context, cut)
    # losses that were made numbers are weighed by what is learned, by no layer
    losses = plain(cut.name) in _NUMBERS
    return any(
        outermost(context, call) == top
        and any(ref.id in made for ref in call.inputs)
        and (losses or any(context.graph.is_parameter(ref.id) for ref in call.inputs))
        for call in learned
    )


def _back(context: CheckContext, cut: FunctionCall) -> Iterator[int]:
    """The tensors that the model goes on with, and no call has made of others:
    `torch.tensor(...)`, and `from_numpy`, which is not recorded."""
    before, top = set[int](), outermost(context, cut)
    for call in context.functions:
        if call.order < cut.order:
            before.update(ref.id for ref in call.inputs)
            continue
        if outermost(context, call) != top:
            continue
        if call.name in _IN and not call.inputs:
            yield from (ref.id for ref in call.outputs or ())
        for ref in call.inputs:
            origin = context.graph.origin(ref.id)
            if origin is not None and origin.kind == "outside":
                if ref.id not in before:
                    yield ref.id


def _found(
    context: CheckContext,
    rule: Check,
    cut: FunctionCall,
    own: list[FunctionCall],
    given: TensorRef,
) -> Diagnosis:
    layers = list(
        dict.fromkeys(
            module.name
            for call in own
            if (module := context.graph.module_of(call)) is not None
            and any(context.graph.is_parameter(ref.id) for ref in call.inputs)
        )
    )
    said = [context.graph.said(name) for name in layers]
    shown = ", ".join(said[:3]) + (", …" if len(said) > 3 else "")
    makes = _made_of_numbers(cut)
    name = cut.name if makes is None else last_name(makes.func)
    cuts = replace(culprit(context, cut, "cuts the gradient"), name=name)
    return finding(
        context,
        rule,
        cut,
        f"{name} takes {given.shape} out of autograd, and what comes behind gets it as "
        f"data: no gradient reaches {shown}.",
        culprits=[
            cuts,
            *(
                Culprit("module", name, reason="learns nothing")
                for name in layers[:1]
                if name
            ),
        ],
        fixes=[
            without_data(cut)
            or _stacked(cut, makes)
            or "compute what comes next with torch, on the tensor itself"
        ],
        shapes=[("input", given, None)],
        way=(given.id, None),
    )


def _stacked(cut: FunctionCall, makes: ast.Call | None) -> Fix | None:
    """The same numbers in one tensor, with what they were made of."""
    line = find(cut.source)
    if line is None or makes is None or makes is not line.tree or len(makes.args) != 1:
        return None
    text = line.spelled(f"torch.stack({line.text(makes.args[0])})")
    return Fix(line.around(text), where=line.source)
