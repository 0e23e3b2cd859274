"""Lines that bring the operands of a call to one shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from shapetrace.checks.facts.comparing import compares
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.report import size_culprit
from shapetrace.checks.fixes.lines import built, code_of, named_first, operand
from shapetrace.records import Culprit, Fix, FunctionCall, TensorRef


def to_one_shape(
    context: CheckContext, call: FunctionCall, ref: TensorRef, other: TensorRef
) -> Sequence[Fix | str | None]:
    """How to bring two of as many dimensions to one shape, in lines that hold for a
    batch of any size; words where only the user can know."""
    target, given = ref, other
    if context.is_raw_data(other.id) and not context.is_raw_data(ref.id):
        target, given = other, ref
    odd = [dim for dim, (a, b) in enumerate(zip(given.shape, target.shape)) if a != b]
    if context.axes.from_parameter(given.id, odd[0]):
        return [_wider(context, given, odd[0], target.shape[odd[0]])]
    if prod(given.shape) == prod(target.shape):
        like = _name(call, target)
        pair = (given, target) if like or not _name(call, given) else (target, given)
        return [_like(context, call, *pair, "reshape_as")]
    low, high = (given, target) if given.shape[odd[0]] == 1 else (target, given)
    note = f"if it is meant for all along dimension {odd[0]}"
    return [_like(context, call, low, high, "expand_as", note)]


def _like(
    context: CheckContext,
    call: FunctionCall,
    ref: TensorRef,
    other: TensorRef,
    method: str,
    note: str = "",
) -> Fix | None:
    """One tensor with the shape of another, which is not computed a second time."""
    like = _name(call, other)
    if like:
        return operand(call, ref, f"{{}}.{method}({like})", note)
    return named_first(call, other, label(context, call, other, ref), ref, method, note)


def _name(call: FunctionCall, ref: TensorRef) -> str:
    """How a call's tensor is written, where that is a name."""
    code = code_of(call, ref)
    return code if code.replace(".", "").isidentifier() else ""


def _wider(context: CheckContext, given: TensorRef, dim: int, size: int) -> Fix | str:
    """The layer that makes a dimension, with another size."""
    who = size_culprit(context, given.id, dim, "")
    last = dim == len(given.shape) - 1
    key = "out_features" if last else "out_channels"
    if (
        who is not None
        and who.kind == "module"
        and _whole(context, who, key, given, dim)
        and _alone(context, given, dim)
    ):
        found = built(context, who.name, None, "", **{key: size})
        if found is not None:
            return found
    return f"let the layer that makes dimension {dim} make {size}"


def _whole(
    context: CheckContext, who: Culprit, key: str, given: TensorRef, dim: int
) -> bool:
    """Whether a dimension is all that a layer makes, not one part of it, as a gate."""
    info = context.graph.rec.modules.get(who.name)
    return info is not None and info.attributes.get(key) == given.shape[dim]


def _alone(context: CheckContext, given: TensorRef, dim: int) -> bool:
    """Whether no other layer has made the same dimension, as of a mean and a spread:
    with one of both rebuilt, the other would stretch it again."""
    trail = context.graph.trail(given.id, dim)
    size = given.shape[dim]
    for hop in trail.hops:
        if hop.call is trail.end.call:
            break
        for ref in hop.call.inputs:
            at = hop.dim - len(context.graph.tensors[hop.tensor].shape)
            if len(ref.shape) < -at or ref.shape[at] != size:
                continue
            end = context.graph.trail(ref.id, at + len(ref.shape)).end
            if end.kind == "parameter" and end.tensor != trail.end.tensor:
                return False
    return True


def label(
    context: CheckContext, call: FunctionCall, ref: TensorRef, other: TensorRef
) -> str:
    """What one operand is called beside the other."""
    raw = context.is_raw_data(ref.id)
    if not compares(context, call) and (code := code_of(call, ref)):
        return code
    if raw != context.is_raw_data(other.id):
        return "target" if raw else "prediction"
    first = next(one.id for one in call.inputs if one.id in (ref.id, other.id))
    if call.index in context.sides:
        return "input" if ref.id == first else "target"
    return "first" if ref.id == first else "second"


def without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return shape[:dim] + shape[dim + 1 :]
