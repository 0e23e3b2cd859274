"""Masks that keep, of a loss, the places that they were to take out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.fixes.lines import operand
from shapetrace.checks.masks.token_masks import SAME, meaning
from shapetrace.lineage.dimensions import PARAMETER, TRAINABLE
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import is_loss, kind

#: calls between a mask and what made it, a loss and its mask, a sum and its mask
_NEAR = 10
_NOT = frozenset(("logical_not", "bitwise_not", "invert", "__invert__"))
_COUNTS = frozenset(("sum", "mean", "count_nonzero"))
_ADDS = frozenset(("sum", "mean"))


class Masked(NamedTuple):
    """A call that keeps a part of what was learned: `base` is what the mask is made of,
    `kept` whether its entries that are True are kept."""

    call: FunctionCall
    value: TensorRef
    mask: TensorRef
    base: int
    kept: bool


def inverted_losses(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Losses of which a mask keeps what it is not counted by, or the padding."""
    masked = {(one.call.index, one.mask.id): one for one in _masked(context)}
    sides: dict[int, set[bool]] = {}
    for one in masked.values():
        sides.setdefault(one.base, set()).add(one.kept)
    listed = {
        _base(context, ref.id)[0]
        for call in context.calls("nonzero", "where", "argwhere")
        for ref in call.inputs[:1]
    }
    alone = [
        one
        for one in masked.values()
        if len(sides[one.base]) == 1 and one.base not in listed
    ]
    made = {ref.id: one for one in alone for ref in one.call.outputs or ()}
    told = set()
    for call in context.calls("div"):
        counted = _counted(context, call)
        kept = None if counted is None else _summed(context, call.inputs[0], made)
        if counted is None or kept is None or kept.base != counted[0]:
            continue
        if kept.kept != counted[1]:
            told.add(kept.call.index)
            sides_of = ("False", "True")
            yield _inverted(
                context,
                rule,
                kept,
                counted[2],
                f"{plain(kept.call.name)} keeps the loss where the mask is "
                f"{sides_of[kept.kept]}, and it is divided by the number of places "
                f"where that is {sides_of[counted[1]]}, by {counted[2].name} at "
                f"{counted[2].source}: one of them is the opposite of what is meant.",
            )
    for one in alone:
        if one.call.index not in told and _is_loss(context, one.value):
            said = meaning(context, one.mask)
            if said is not None and said[0] != _keeps_true(one):
                yield _inverted(
                    context,
                    rule,
                    one,
                    said[1],
                    f"{plain(one.call.name)} keeps the loss of the padding and takes "
                    f"out that of the tokens, by {said[1].name} at {said[1].source}.",
                )


def _keeps_true(one: Masked) -> bool:
    return plain(one.call.name) != "masked_fill"


def _inverted(
    context: CheckContext, rule: Check, one: Masked, by: FunctionCall, message: str
) -> Diagnosis:
    fix: Fix | None = None
    if one.mask.dtype is torch.bool:
        fix = operand(one.call, one.mask, "~{}")
    return finding(
        context,
        rule,
        one.call,
        message,
        culprits=[
            culprit(context, one.call, "keeps the places that are not meant"),
            culprit(context, by, "tells which are meant"),
        ],
        fixes=[fix],
        shapes=[("loss", one.value, None), ("mask", one.mask, None)],
        way=(one.mask.id, None),
    )


def _masked(context: CheckContext) -> Iterator[Masked]:
    """The calls by which a mask of the data keeps a part of what was learned."""
    axes = context.axes
    for call in context.calls("mul", "masked_fill", "getitem", "masked_select"):
        if len(call.inputs) != 2:
            continue
        value, mask = call.inputs
        name = plain(call.name)
        if name == "mul" and not axes.descends(value.id, TRAINABLE):
            value, mask = mask, value
        if not axes.descends(value.id, TRAINABLE) or axes.descends(mask.id, PARAMETER):
            continue
        if name != "mul" and mask.dtype is not torch.bool:
            continue
        if name == "masked_fill" and argument(call, "value", 2) != 0:
            continue
        base, turned = _base(context, mask.id)
        yield Masked(call, value, mask, base, turned == (name == "masked_fill"))


def _base(context: CheckContext, tensor: int) -> tuple[int, bool]:
    """What a mask is made of, and whether it is the opposite of that."""
    turned = False
    for _ in range(_NEAR):
        call = context.made_by(tensor)
        if call is None or len(call.inputs) != 1:
            break
        name = plain(call.name)
        if name in _NOT or _from_one(call):
            turned = not turned
        elif name in ("eq", "ne") and argument(call, "other", 1) in (0, 1):
            # of the labels it is a comparison with a class
            given = call.inputs[0].dtype
            if given is not torch.bool:
                break
            turned ^= (name == "eq") == (argument(call, "other", 1) == 0)
        elif kind(name) not in SAME and name != "getitem":
            break
        tensor = call.inputs[0].id
    return tensor, turned


def _from_one(call: FunctionCall) -> bool:
    """Whether a call is `1 - mask`."""
    name = plain(call.name)
    if name in ("rsub", "__rsub__"):
        return argument(call, "other", 1) == 1
    return name in ("sub", "subtract") and bool(call.args) and call.args[0] == 1


def _counted(
    context: CheckContext, call: FunctionCall
) -> tuple[int, bool, FunctionCall] | None:
    """Of a division by the number of places in a mask: what the mask is made of, and
    whether those that are True are counted."""
    if len(call.inputs) != 2:
        return None
    tensor = call.inputs[1].id
    for _ in range(_NEAR):
        made = context.made_by(tensor)
        if made is None or len(made.inputs) != 1:
            return None
        if made.name in _COUNTS:
            if context.axes.descends(made.inputs[0].id, PARAMETER):
                return None
            base, turned = _base(context, made.inputs[0].id)
            return base, not turned, made
        if kind(made.name) not in (*SAME, "sum", "pointwise", "choose"):
            return None
        tensor = made.inputs[0].id
    return None


def _summed(
    context: CheckContext, ref: TensorRef, masked: dict[int, Masked]
) -> Masked | None:
    """The part of a loss that a sum runs over."""
    tensor, added = ref.id, False
    for _ in range(_NEAR):
        if tensor in masked:
            return masked[tensor] if added else None
        made = context.made_by(tensor)
        if made is None or len(made.inputs) != 1:
            return None
        if made.name in _ADDS:
            added = True
        elif kind(made.name) not in (*SAME, "pointwise"):
            return None
        tensor = made.inputs[0].id
    return None


def _is_loss(context: CheckContext, value: TensorRef) -> bool:
    """Whether a tensor holds the loss of each place."""
    call = context.made_by(value.id)
    for _ in range(_NEAR):
        if call is None or not call.inputs:
            return False
        if is_loss(call.name):
            return True
        single = len(call.inputs) == 1
        if not single or kind(call.name) not in (*SAME, "reduce", "pointwise"):
            return False
        call = context.made_by(call.inputs[0].id)
    return False
