"""Linear layers with nothing between them that is not linear."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.context import CheckContext
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, finding
from shapetrace.records import Diagnosis, FunctionCall, ModuleCall
from shapetrace.signatures import kind
from shapetrace.source.called import module_path

#: what may stand between two layers and is linear itself
_BETWEEN = ("dropout", "cast", "copy")
#: calls between two layers
_NEAR = 3


@check(
    "activation-missing",
    "warning",
    "linear layers with no activation between them are one linear layer, however many "
    "there are: the model can learn nothing that is not linear",
)
def activation_missing(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    after: dict[int, FunctionCall] = {}
    for call in context.calls("linear"):
        following = _next(context, call)
        if following is not None and _are_one(call, following):
            after[call.index] = following
    second = {call.index for call in after.values()}
    for call in context.calls("linear"):
        if call.index in second or call.index not in after:
            continue
        chain = [call]
        while chain[-1].index in after:
            chain.append(after[chain[-1].index])
        layers = [context.layer(one) for one in chain]
        known = [layer for layer in layers if layer is not None]
        if len(known) == len(chain) and _are_alike(context, known):
            yield _missing(context, rule, chain, known)


def _next(context: CheckContext, call: FunctionCall) -> FunctionCall | None:
    """The linear layer that takes what another makes, where nobody else does."""
    ref = (call.outputs or call.inputs)[0]
    for _ in range(_NEAR):
        users = [one for one in context.graph.users.get(ref.id, ())]
        functions = [one for one in users if isinstance(one, FunctionCall)]
        if len(functions) != 1 or _is_given_back(context, ref.id):
            return None
        user = functions[0]
        if kind(user.name) == "linear" and user.name == "linear":
            return user if user.inputs[0].id == ref.id else None
        if kind(user.name) not in _BETWEEN or not user.outputs:
            return None
        ref = user.outputs[0]
    return None


def _is_given_back(context: CheckContext, tensor: int) -> bool:
    """Whether a module that is no layer gives a tensor to its caller, as features."""
    for call in context.graph.rec.calls:
        if any(ref.id == tensor for ref in call.outputs or ()):
            info = context.graph.rec.modules.get(call.name)
            if info is None or not info.qualname.startswith("torch.nn.modules."):
                return True
    return False


def _are_one(first: FunctionCall, second: FunctionCall) -> bool:
    """Whether one layer could do what two do: no narrow place between them cuts the
    rank, as where a matrix is written as a product of two small ones."""
    weights = [call.inputs[1].shape for call in (first, second) if len(call.inputs) > 1]
    if len(weights) != 2 or any(len(shape) != 2 for shape in weights):
        return False
    (middle, given), (made, _) = weights
    return middle >= min(given, made) and middle > 1


def _are_alike(context: CheckContext, layers: list[ModuleCall]) -> bool:
    """Whether layers follow each other in one `Sequential`, or are numbered attributes
    of one module, or three of it: two others may belong to different parts of it."""
    rec = context.graph.rec
    homes = {layer.name.rpartition(".")[0] for layer in layers}
    names = [layer.name.rpartition(".")[2] for layer in layers]
    if len(homes) != 1 or any(layer.type != "Linear" for layer in layers):
        return False
    if len(set(names)) != len(names):
        return False  # one layer that is run again
    grads = {
        origin.name.rpartition(".")[0]
        for origin in rec.origins.values()
        if origin.kind == "parameter" and origin.requires_grad
    }
    if any(layer.name not in grads for layer in layers):
        return False
    info = rec.modules.get(homes.pop())
    if info is None or info.type == "Sequential":
        return info is not None
    stems = {name.rstrip("0123456789_") for name in names}
    numbered = all(name[-1:].isdigit() for name in names)
    return len(names) > 2 or len(stems) == 1 and numbered and "" not in stems


def _missing(
    context: CheckContext,
    rule: Check,
    chain: list[FunctionCall],
    layers: list[ModuleCall],
) -> Diagnosis:
    names = ", ".join(context.graph.said(layer.name) for layer in layers)
    made = (chain[0].outputs or chain[0].inputs)[0]
    first = module_path(context.graph.rec, layers[0].name)
    return finding(
        context,
        rule,
        chain[1],
        f"{names} follow each other with no activation between them: together they do "
        "what one linear layer does.",
        culprits=[culprit(context, one, "has no activation") for one in chain],
        fixes=[f"put an activation, as relu, behind {first}"],
        shapes=[("input", made, None)],
        way=(made.id, None),
    )
