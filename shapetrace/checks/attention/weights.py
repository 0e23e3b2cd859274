"""Attention weights that are normalised over another dimension than they are summed."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.dimensions.softmax import over_batch
from shapetrace.checks.facts.by_hand import normalised
from shapetrace.checks.facts.following import summed_over
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import along, instead
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

_PRODUCTS = ("product", "batch_product")
#: what scores go through before their softmax, each element for itself
_SCALES = ("scale", "sum", "mask", "cast", "copy", "view", "transpose", "pointwise")
#: steps between the products and the softmax
_NEAR = 12


@check(
    "attention-dim",
    "warning",
    "attention weights sum to 1 along another dimension than the one that the product "
    "with the values sums over: the results are no weighted means",
)
def attention_dim(context: CheckContext) -> Iterator[Diagnosis]:
    spots = normalised(context, "softmax")
    if not spots or not context.of_kind(*_PRODUCTS):
        return
    batch = {one.call.index for one in over_batch(context)}
    for call, given, dim, _, by in spots:
        if given.shape[dim] < 2 or call.index in batch:
            continue
        summed = summed_over(context, call)
        if summed is None or summed == dim:
            continue
        wholly = context.axes.wholly
        of = {d: context.axes.roots(given.id, d) for d in (dim, summed)}
        keys = wholly(given.id, summed, "data")
        product = _sharing(context, given, dim)
        if keys and wholly(given.id, dim, "data") and of[dim] == of[summed]:
            what = "the queries, of the same sequence"
        elif (
            product is not None
            and (keys or _are_heads(context, given, dim))
            and not _are_votes(context, call, product)
        ):
            what = "which both operands of the product before it share"
        else:
            continue
        idle = _turning_nothing(context, call)
        culprits = [culprit(context, by, f"normalises dimension {dim}", dim)]
        fixes = [along(context, by, summed)]
        if idle is not None:
            low, high = sorted((dim, summed))
            culprits.insert(0, culprit(context, idle, "turns nothing round"))
            fixes.insert(0, instead(idle, f"{{}}.transpose({low}, {high})"))
        yield finding(
            context,
            call,
            f"{by.name} normalises dimension {dim} of {given.shape} ({what}), but "
            f"the product with the values sums over dimension {summed}, the keys: the "
            "weights of one result do not sum to 1.",
            culprits=culprits,
            fixes=fixes,
            shapes=[("scores", given, dim)],
            way=(given.id, dim),
        )


def _turning_nothing(context: CheckContext, call: FunctionCall) -> FunctionCall | None:
    """A `permute(0, 1, 2)` of the weights, which leaves all dimensions in their places:
    another order was meant there."""
    for user, _ in context.follow((call.outputs or ())[0].id):
        if kind(user.name) == "transpose":
            outputs = context.graph.relation(user).outputs
            if all(
                origin.sources == ((0, at),) for at, origin in enumerate(outputs[0])
            ):
                return user
    return None


def _sharing(context: CheckContext, ref: TensorRef, dim: int) -> FunctionCall | None:
    """The product that made scores, where both its operands have a dimension of them:
    its batch, or its heads."""
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None or not call.outputs:
            return None
        outputs = context.graph.relation(call).outputs
        if not outputs or dim >= len(outputs[0]):
            return None
        sources = outputs[0][dim].sources
        if kind(call.name) in _PRODUCTS:
            return call if {at for at, _ in sources} >= {0, 1} else None
        if kind(call.name) not in _SCALES or outputs[0][dim].how == "product":
            return None
        sizes = [(at, d) for at, d in sources if call.inputs[at].shape == ref.shape]
        sizes = sizes or list(sources)
        if not sizes:
            return None
        ref, dim = call.inputs[sizes[0][0]], sizes[0][1]
    return None


def _are_heads(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    """Whether a dimension is heads, stacked or cut out of a layer's features."""
    axes = context.axes
    return axes.sure(ref.id, dim) and all(
        root == "made"
        or root == "parameter"
        and axis.size < context.graph.size(tensor, d)
        for axis in axes.of(ref.id, dim)
        for root, tensor, d in axis.roots
    )


def _are_votes(
    context: CheckContext, call: FunctionCall, product: FunctionCall
) -> bool:
    """Whether the scores are of the values with what was made of them: capsules compete
    for the parts that agree with them."""
    given = {context.undressed(ref.id) for ref in product.inputs}
    todo = [ref.id for ref in call.outputs or ()]
    while todo:
        for user, made in context.follow(todo.pop()):
            if kind(user.name) not in _PRODUCTS:
                todo.append(made.id)
                continue
            values = given & {context.undressed(ref.id) for ref in user.inputs}
            if any(values & context.graph.ancestors(one) for one in given - values):
                return True
    return False
