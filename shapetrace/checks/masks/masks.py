"""Masks that cannot do what they are there for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from shapetrace.checks.facts.arguments import argument, softmax_dim
from shapetrace.checks.facts.following import steps, summed_over
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import operand
from shapetrace.checks.masks.token_masks import SAME
from shapetrace.checks.masks.triangles import is_triangle_of_ones
from shapetrace.checks.masks.weight_masks import unread_masks
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Culprit, Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between a mask, the softmax and the product with the values
_NEAR = 8
#: calls that leave every score at its place
_IN_PLACE = ("sum", "scale", "mask", "cast", "copy", "pointwise", "dropout")


@check(
    "mask-without-effect",
    "warning",
    "a mask that is the same along the dimension of the softmax, or that only makes "
    "scores 0, takes no key away, and one that no call reads hides no weight",
)
def mask_without_effect(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from unread_masks(context, rule)
    for call in context.of_kind("softmax"):
        given, dim = call.inputs[0], softmax_dim(call)
        if dim is None or given.shape[dim] < 2 or summed_over(context, call) != dim:
            continue  # no attention, or one over a dimension that is wrong itself
        found = masks_of(context, call)
        if not found and (zeroed := _zeroed(context, call, dim)) is not None:
            yield _of_zeros(context, rule, call, *zeroed, dim)
        if found and all(_size(mask, given, dim) == 1 for _, mask in found):
            masked, mask = found[-1]
            yield _constant(context, rule, masked, mask, given, dim)
    for call in context.calls("scaled_dot_product_attention"):
        masks = [ref for ref in call.inputs if ref.path in _MASK_PATHS]
        keys = call.inputs[1].shape
        if masks and len(keys) > 1 and keys[-2] > 1:
            mask = masks[0]
            if mask.shape[-1:] == (1,) and max(mask.shape) > 1:
                scores = replace(mask, shape=(*keys[:-2], 1, keys[-2]))
                yield _constant(context, rule, call, mask, scores, len(keys) - 1)


@check(
    "mask-after-softmax",
    "warning",
    "a mask takes keys out after the softmax has shared all between them: what is left "
    "for the other keys does not add up to 1",
)
def mask_after_softmax(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.of_kind("softmax"):
        dim, shares = softmax_dim(call), (call.outputs or call.inputs)[0]
        if dim is None or shares.shape[dim] < 2 or masks_of(context, call):
            continue
        for user, made in context.follow(shares.id):
            mask = _taken_out(context, user, shares, dim)
            if mask is None or not _weighs_values(context, made, dim):
                continue
            yield finding(
                context,
                rule,
                user,
                f"{user.name.rstrip('_')} takes keys out along dimension {dim} of "
                f"{shares.shape} after {call.name} at {call.source} has run over them: "
                "the shares of those that are left do not add up to 1.",
                culprits=[
                    culprit(context, user, "comes after the softmax", dim),
                    culprit(context, call, "shares between all keys", dim),
                ],
                shapes=[("shares", shares, dim), ("mask", mask, None)],
                way=(mask.id, None),
            )


def _taken_out(
    context: CheckContext, call: FunctionCall, shares: TensorRef, dim: int
) -> TensorRef | None:
    """The mask of the data by which a call sets some of the shares along a dimension to
    0; no dropout, and none that the model has chosen."""
    if call.outputs is None or call.outputs[0].shape != shares.shape:
        return None
    others = [ref for ref in call.inputs if ref.id != shares.id]
    if kind(call.name) == "mask":
        value = argument(call, "other" if call.name == "where" else "value", 2)
        if isinstance(value, TensorRef):
            made = context.made_by(value.id)
            value = 0 if made is not None and "zeros" in made.name else value
            others = [ref for ref in others if ref.dtype is torch.bool]
        if value != 0:
            return None
    elif kind(call.name) != "scale":
        return None
    if len(others) != 1 or _size(others[0], shares, dim) < 2:
        return None
    return others[0] if _tells_places(context, others[0]) else None


def _tells_places(context: CheckContext, mask: TensorRef) -> bool:
    """Whether a mask is True or False by comparing data, lengths or places, and nothing
    of it was drawn at random."""
    if context.axes.descends(mask.id, PARAMETER):
        return False
    compared, todo, seen = is_binary(context, mask), [mask], {mask.id}
    while todo:
        ref = todo.pop()
        call = context.made_by(ref.id)
        compared |= ref.dtype is torch.bool
        if call is not None and kind(call.name) in ("random", "dropout") and compared:
            if ref.dtype.is_floating_point:
                return False
        for one in () if call is None else call.inputs:
            if one.id not in seen:
                seen.add(one.id)
                todo.append(one)
    return compared


def _weighs_values(context: CheckContext, shares: TensorRef, dim: int) -> bool:
    """Whether shares are summed over with values at once, with no sum of themselves
    between that they are divided by."""
    users = [user for user, _ in context.follow(shares.id)]
    names = {user.name for user in users}
    if names & {"sum", "div", "normalize", "norm"}:
        return False
    for step in steps(context, shares):
        name = kind(step.call.name)
        if dim in step.lost:
            return name in ("product", "batch_product")
        if name in ("dropout", "cast", "transpose", "unit"):
            moved = [d for d, held in enumerate(step.places) if held == {dim}]
            if moved and _weighs_values(context, step.made, moved[0]):
                return True
    return False


_MASK_PATHS = ("args[3]", "kwargs['attn_mask']")


def masks_of(
    context: CheckContext, softmax: FunctionCall
) -> list[tuple[FunctionCall, TensorRef]]:
    """The masks that scores went through before their softmax, the last one first."""
    found = []
    ref = softmax.inputs[0]
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None or kind(call.name) not in _IN_PLACE:
            break
        scores = [one for one in call.inputs if one.shape == ref.shape]
        scores = [one for one in scores if context.axes.descends(one.id, PARAMETER)]
        if len(scores) != 1:
            break
        for other in call.inputs:
            if other is not scores[0] and _is_mask(context, call, other):
                found.append((call, other))
        ref = scores[0]
    return found


def _is_mask(context: CheckContext, call: FunctionCall, ref: TensorRef) -> bool:
    """Whether an operand tells places apart by the data alone."""
    if not ref.shape or max(ref.shape) < 2 or context.axes.descends(ref.id, PARAMETER):
        return False
    return kind(call.name) == "mask" or kind(call.name) == "sum"


def _zeroed(
    context: CheckContext, softmax: FunctionCall, dim: int
) -> tuple[FunctionCall, TensorRef] | None:
    """The product of a softmax's scores with a mask of zeros and ones that tells its
    keys apart: a score of 0 is one like others."""
    ref = softmax.inputs[0]
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None or kind(call.name) not in ("scale", "cast", "copy", "dropout"):
            return None
        scores = [one for one in call.inputs if one.shape == ref.shape]
        scores = [one for one in scores if context.axes.descends(one.id, PARAMETER)]
        if len(scores) != 1:
            return None
        for mask in call.inputs:
            if plain(call.name) in ("mul", "multiply") and mask is not scores[0]:
                if _size(mask, ref, dim) > 1 and is_binary(context, mask):
                    return call, mask
        ref = scores[0]
    return None


def is_binary(context: CheckContext, mask: TensorRef) -> bool:
    """Whether each entry is a 0 or a 1 that the data, or the code, has put there."""
    todo, seen = [mask], {mask.id}
    while todo:
        ref = todo.pop()
        call = context.made_by(ref.id)
        given: Sequence[TensorRef] = () if call is None else call.inputs
        if context.axes.descends(ref.id, PARAMETER):
            return False
        if ref.dtype is not torch.bool:
            if call is None and is_triangle_of_ones(context, ref.id):
                continue
            if call is None or not _keeps_binary(call):
                return False
            made = plain(call.name)
            # what is written to; a factor of its own; the mask that is handed on
            taken = {"scale": 2, "join": len(given), "fill": 0}
            given = given[: taken.get(kind(made), 1)]
        elif call is not None and kind(call.name) == "compare":
            if any(_is_drawn(context, one) for one in given):
                return False  # dropped at random
            continue
        for one in given:
            if one.id not in seen:
                seen.add(one.id)
                todo.append(one)
    return True


def _is_drawn(context: CheckContext, ref: TensorRef) -> bool:
    made = context.made_by(context.undressed(ref.id))
    drawn = made is not None and kind(made.name) == "random"
    return drawn and ref.dtype.is_floating_point


def _keeps_binary(call: FunctionCall) -> bool:
    """Whether a call makes zeros and ones, of zeros and ones or of nothing."""
    name = plain(call.name)
    if kind(name) == "fill":
        return name.startswith(("zeros", "ones", "new_zeros", "new_ones"))
    if name in ("mul", "multiply"):
        return len(call.inputs) == 2
    if name == "rsub":
        return argument(call, "other", 1) == 1 and len(call.inputs) == 1
    if kind(name) == "write" or name == "masked_fill":
        return name in _WRITES and argument(call, "value", _WRITES[name]) in (0, 1)
    return kind(name) in (*SAME, "join", "repeat", "one_hot", "pick") or name in _SHAPED


#: calls that write a constant, with its place among the arguments
_WRITES = {"setitem": 2, "masked_fill": 2, "fill": 1, "index_fill": 3, "scatter": 3}
_SHAPED = ("tril", "triu", "eye", "diag")


def _of_zeros(
    context: CheckContext,
    rule: Check,
    softmax: FunctionCall,
    product: FunctionCall,
    mask: TensorRef,
    dim: int,
) -> Diagnosis:
    scores = softmax.inputs[0]
    return finding(
        context,
        rule,
        softmax,
        f"the mask {mask.shape} is multiplied by the scores at {product.source}, so "
        "those of the keys to be hidden are 0: softmax makes exp(0) = 1 of each, more "
        "than of any key with a score below 0.",
        culprits=[
            culprit(context, product, "makes the scores 0 and not -inf"),
            culprit(context, softmax, "gives a score of 0 a share", dim),
        ],
        fixes=[
            "set the scores where the mask is 0 to -inf instead, with "
            "scores.masked_fill(mask == 0, float('-inf')), or to a large negative "
            "number where a query may have no key at all"
        ],
        shapes=[("scores", scores, dim), ("mask", mask, None)],
        way=(mask.id, None),
    )


def _size(mask: TensorRef, scores: TensorRef, dim: int) -> int:
    """The size of a mask along a dimension of the scores."""
    at = dim - len(scores.shape) + len(mask.shape)
    return mask.shape[at] if at >= 0 else 1


def _constant(
    context: CheckContext,
    rule: Check,
    call: FunctionCall,
    mask: TensorRef,
    scores: TensorRef,
    dim: int,
) -> Diagnosis:
    at = dim - len(scores.shape) + len(mask.shape)
    wide = [d for d, size in enumerate(mask.shape) if size > 1]
    size = scores.shape[dim]
    fixes = []
    if at >= 0 and wide and mask.shape[wide[-1]] == size:
        order = list(range(len(mask.shape)))
        order[wide[-1]], order[at] = at, wide[-1]
        fixes.append(
            context.trial(
                operand(call, mask, f"{{}}.transpose({wide[-1]}, {at})"),
                Change(call, mask.path, (("permute", tuple(order)),)),
            )
        )
    return finding(
        context,
        rule,
        call,
        f"the mask {mask.shape} is the same for all {size} keys, dimension {dim} of "
        "the scores: softmax runs over that dimension, so no key is hidden from a "
        "query.",
        culprits=[
            culprit(context, call, "is given a mask of the queries", dim, 1, size),
            _maker(context, mask),
        ],
        fixes=fixes,
        shapes=[("mask", mask, at if at >= 0 else None)],
        way=(mask.id, None),
    )


def _maker(context: CheckContext, mask: TensorRef) -> Culprit | None:
    """Who has put the mask's dimension of 1 where it is."""
    ref = mask
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs:
            return None
        if kind(made.name) in ("unit", "view") or made.name == "getitem":
            return culprit(context, made, "puts the dimension of 1 there")
        ref = made.inputs[0]
    return None
