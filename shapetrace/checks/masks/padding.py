"""Masks of padding that hide the tokens, and means that take the padding in."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import inverted, operand
from shapetrace.checks.masks.framed_masks import PADS
from shapetrace.checks.masks.loss_masks import inverted_losses
from shapetrace.checks.masks.masks import masks_of
from shapetrace.checks.masks.token_masks import SAME, meaning, origin_of
from shapetrace.lineage.dimensions import PARAMETER, TRAINABLE
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: scores below this come to nothing in a softmax
_NOTHING = -1e3
#: calls between a product and where its mask is used
_NEAR = 12
#: calls by which data takes entries out, or weighs them
_TAKES_OUT = ("scale", "mask", "pick", "write", "")
#: layers after which padding is nothing in particular
_FILLS = ("linear", "convolution", "norm", "recurrent", "attention", "product")
_PRODUCTS = ("product", "batch_product", "attention")


@check(
    "mask-inverted",
    "warning",
    "a mask hides the tokens and keeps the padding: where True means a token, it is "
    "used as if True meant padding, or the other way round",
)
def mask_inverted(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from inverted_losses(context, rule)
    for call, mask, hides in _uses(context):
        said = meaning(context, mask, padded=True)
        if said is None or said[0] != hides:
            continue
        compared = said[1]
        token = "data" if plain(compared.name) in PADS else "a token"
        what = token if hides else "padding"
        does = "hides" if hides else "keeps"
        yield finding(
            context,
            rule,
            call,
            f"True in the mask means {what}, by {compared.name} at {compared.source}, "
            f"and {call.name.rstrip('_')} {does} what is True.",
            culprits=[
                culprit(context, call, f"{does} what is True"),
                culprit(context, compared, f"is True for {what}"),
            ],
            fixes=[operand(call, mask, "~{}") or inverted(call)],
            shapes=[("mask", mask, None)],
            way=(mask.id, None),
        )


def _uses(context: CheckContext) -> Iterator[tuple[FunctionCall, TensorRef, bool]]:
    """The calls that hide or keep scores by a mask, and whether True hides."""
    for call in context.calls("masked_fill", "scaled_dot_product_attention"):
        masks = [ref for ref in call.inputs if str(ref.dtype) == "torch.bool"]
        if len(masks) == 1:
            if call.name == "scaled_dot_product_attention":
                yield call, masks[0], False
            elif _is_nothing(argument(call, "value", 2)):
                yield call, masks[0], True


def _is_nothing(value: object) -> bool:
    return isinstance(value, (int, float)) and value <= _NOTHING


@check(
    "padding-in-mean",
    "warning",
    "a mean over the time takes in the padding that attention hides: short sequences "
    "get a result that depends on how far they were padded",
)
def padding_in_mean(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from _counted_alone(context, rule)
    for call in context.calls("mean"):
        given = call.inputs[0]
        dim = argument(call, "dim", 1)
        if isinstance(dim, (tuple, list)) and len(dim) == 1:
            (dim,) = dim
        last = dim is None or dim in (-1, len(given.shape) - 1)
        weighed = _weighed_by_tokens(context, given) if last else None
        over, where = given.shape, ""
        if dim is not None:
            over, where = given.shape[-1:], f" along dimension {dim}"
        if weighed is not None:
            yield finding(
                context,
                rule,
                call,
                f"{call.name} divides by all {prod(over)} places of "
                f"{given.shape}{where}, those too that the mask at {weighed.source} "
                "takes out.",
                culprits=[culprit(context, call, "counts the padding")],
                shapes=[("input", given, None)],
                way=(given.id, None),
            )
            continue
        if not isinstance(dim, int) or not given.shape:
            continue
        time = context.axes.roots(given.id, dim % len(given.shape))
        hidden = hidden_before(context, given, time)
        if hidden is None:
            continue
        yield finding(
            context,
            rule,
            call,
            f"{call.name} runs over all {given.shape[dim]} steps of {given.shape}, and "
            f"the padding among them, which {hidden.name} at {hidden.source} hides by "
            "a mask, is in the sum and in the count.",
            culprits=[culprit(context, call, "takes the padding in", dim)],
            shapes=[("input", given, dim % len(given.shape))],
            way=(given.id, dim % len(given.shape)),
        )


def _counted_alone(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Sums over all steps that are divided by the number of tokens: the mask is in the
    count, and not in the sum."""
    for call in context.calls("div"):
        if len(call.inputs) != 2:
            continue
        above, below = (_total(context, ref) for ref in call.inputs)
        if above is None or below is None:
            continue
        (total, dim), (count, at) = above, below
        given, mask = total.inputs[0], count.inputs[0]
        if total.outputs and not total.outputs[0].shape:
            if given.shape != mask.shape:
                continue  # another sum over all, as a penalty
        if not _same_steps(context, given, dim, mask, at):
            continue
        if not _padded(context, given, context.axes.roots(given.id, dim)):
            continue
        yield finding(
            context,
            rule,
            call,
            f"the sum over all {given.shape[dim]} steps at {total.source} is divided "
            "by the number of tokens: the padding is in the sum, not in the count.",
            culprits=[
                culprit(context, total, "takes the padding in", dim),
                culprit(context, call, "divides by the tokens alone"),
            ],
            shapes=[("input", given, dim), ("mask", mask, at)],
            way=(given.id, dim),
        )


def _total(context: CheckContext, ref: TensorRef) -> tuple[FunctionCall, int] | None:
    """The sum over one dimension that a tensor is, and that dimension; the last one of
    a sum over all."""
    made = context.made_by(origin_of(context, ref.id))
    while made is not None and plain(made.name) in ("clamp", "clamp_min"):
        made = context.made_by(origin_of(context, made.inputs[0].id))
    if made is None or made.name != "sum":
        return None
    dim, rank = argument(made, "dim", 1), len(made.inputs[0].shape)
    if isinstance(dim, (tuple, list)) and len(dim) == 1:
        (dim,) = dim
    if dim is None and rank:
        return made, rank - 1
    return (made, dim % rank) if isinstance(dim, int) and rank else None


def _same_steps(
    context: CheckContext, given: TensorRef, dim: int, mask: TensorRef, at: int
) -> bool:
    """Whether a mask tells the tokens among the steps of a tensor."""
    if given.shape[dim] != mask.shape[at] or meaning(context, mask) is None:
        return False
    roots = context.axes.roots(mask.id, at)
    counted = all(root[0] == "made" for root in roots)
    return counted or roots == context.axes.roots(given.id, dim)


def _padded(context: CheckContext, ref: TensorRef, time: frozenset[Root]) -> bool:
    """Whether the steps of the padding hold other numbers than 0, for all that is seen:
    a layer with a bias made them, and nothing has taken them out since."""
    found = False
    todo, seen = [ref.id], {ref.id}
    while todo:
        call = context.made_by(todo.pop())
        if call is None:
            continue
        if "pad_packed" in call.name or takes_out(context, call, time):
            return False
        if kind(call.name) in _FILLS or call.name == "embedding":
            rows = (
                argument(call, "padding_idx", 2) if call.name == "embedding" else None
            )
            found = found or rows is None
            continue
        for one in call.inputs:
            if context.axes.descends(one.id, PARAMETER) and one.id not in seen:
                seen.add(one.id)
                todo.append(one.id)
    return found


def takes_out(context: CheckContext, call: FunctionCall, time: frozenset[Root]) -> bool:
    """Whether data, a mask perhaps, takes steps out of what a layer made: what is the
    same for all steps does not, nor does a class that is picked at each of them."""
    made = (call.outputs or call.inputs)[0]
    if kind(call.name) not in _TAKES_OUT:
        return False
    axes = context.axes
    rank = len(made.shape)
    steps = {d - rank for d in range(rank) if axes.roots(made.id, d) & time}
    if steps and call.name in ("gather", "index_select"):
        along = argument(call, "dim", 1)
        return not isinstance(along, int) or along % rank - rank in steps
    for one in call.inputs:
        if max(one.shape, default=1) < 2 or axes.descends(one.id, PARAMETER):
            continue
        sizes = [one.shape[d] for d in steps if d >= -len(one.shape)]
        if not steps or kind(call.name) != "scale" or max(sizes, default=1) > 1:
            return True
    return False


def _weighed_by_tokens(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The product of what was learned with a mask of tokens that a tensor is."""
    made = context.made_by(ref.id)
    if made is None or plain(made.name) != "mul" or len(made.inputs) != 2:
        return None
    one, two = made.inputs
    for mask, other in ((one, two), (two, one)):
        if mask.shape == other.shape and context.axes.descends(other.id, TRAINABLE):
            if meaning(context, mask) is not None:
                return made
    return None


def hidden_before(
    context: CheckContext, ref: TensorRef, time: frozenset[Root]
) -> FunctionCall | None:
    """The attention that made a tensor and hides keys of that time by a mask of the
    data, with nothing of the data between that could have taken the padding out."""
    found = None
    todo, seen = [ref.id], {ref.id}
    while todo:
        call = context.made_by(todo.pop())
        if call is None:
            continue
        if kind(call.name) in (*_PRODUCTS, "embedding"):
            if _hides(context, call, time):
                found = call
            continue
        if takes_out(context, call, time):
            return None
        for one in call.inputs:
            if context.axes.descends(one.id, PARAMETER) and one.id not in seen:
                seen.add(one.id)
                todo.append(one.id)
    return found


def _hides(context: CheckContext, call: FunctionCall, time: frozenset[Root]) -> bool:
    axes = context.axes
    if call.name == "multi_head_attention_forward":
        masks = [ref for ref in call.inputs if ref.path == _PADDING]
        return bool(masks) and axes.roots(call.inputs[1].id, 0) == time
    ref = call.inputs[0]
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return False
        if kind(made.name) == "softmax":
            masks = [mask for _, mask in masks_of(context, made)]
            return any(axes.roots(m.id, len(m.shape) - 1) == time for m in masks)
        if kind(made.name) not in (*SAME, "dropout"):
            return False
        ref = made.inputs[0]
    return False


_PADDING = "kwargs['key_padding_mask']"
