"""Masks that hide what comes later, made in the block or before it."""

from __future__ import annotations

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.records import FunctionCall, ModuleCall
from shapetrace.signatures import kind
from shapetrace.source.filling import filled_by, given_by

#: what makes a mask that hides what comes later
_TRIANGLES = frozenset(("tril", "triu", "generate_square_subsequent_mask"))
#: calls between a triangle and where it masks
_NEAR = 8
#: what makes a triangle of ones, and what leaves its numbers as they are
_OF_ONES = frozenset(
    "tril triu ones view reshape unsqueeze float int long bool to type transpose t "
    "expand clone contiguous".split()
)


def is_triangle(context: CheckContext, tensor: int) -> bool:
    """Whether a mask was made by tril or triu, or of places that are compared with each
    other, in the block or before it."""
    for _ in range(_NEAR):
        call = context.made_by(tensor)
        if call is None:
            return bool(made_before(context, tensor) & _TRIANGLES)
        if not call.inputs:
            return False
        if plain(call.name) in _TRIANGLES or _orders(context, call):
            return True
        # what is written into a mask, or else what the mask is made of
        tensor = call.inputs[-1 if kind(call.name) == "write" else 0].id
    return False


def made_before(context: CheckContext, tensor: int) -> frozenset[str]:
    """The functions that filled a buffer, or what was given from outside."""
    rec, origin = context.graph.rec, context.graph.origin(tensor)
    shape = context.graph.tensors[tensor].shape
    square = len(shape) > 1 and shape[-2] == shape[-1]
    if origin is None or origin.kind == "parameter" or not square:
        return frozenset()
    if origin.kind == "buffer":
        home, _, name = origin.name.rpartition(".")
        info = rec.modules.get(home)
        return frozenset() if info is None else filled_by(info, name)
    takers: list[FunctionCall | ModuleCall] = [
        call for call in rec.calls if any(ref.id == tensor for ref in call.inputs)
    ]
    takers += context.graph.users.get(tensor, ())[:1]
    for call in takers[:1]:
        ref = next(ref for ref in call.inputs if ref.id == tensor)
        return given_by(rec, call, ref.path)
    return frozenset()


def _orders(context: CheckContext, call: FunctionCall) -> bool:
    """Whether a call compares places along two dimensions: no later one is seen."""
    if plain(call.name) not in ("lt", "le", "gt", "ge") or len(call.inputs) != 2:
        return False
    counts = [context.made_by(context.undressed(ref.id)) for ref in call.inputs]
    made = (call.outputs or ())[0]
    crossed = all(ref.shape != made.shape for ref in call.inputs)
    return crossed and all(
        one is not None and kind(one.name) == "count" for one in counts
    )


def is_triangle_of_ones(context: CheckContext, tensor: int) -> bool:
    """Whether a mask from before the block is a triangle of zeros and ones."""
    made = made_before(context, tensor)
    return bool(made & {"tril", "triu"}) and "ones" in made and made <= _OF_ONES
