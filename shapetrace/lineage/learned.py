"""What a call does to whether its result is learned from, besides switching it off."""

from __future__ import annotations

from shapetrace.records import FunctionCall
from shapetrace.signatures import kind


def writes_in_place(call: FunctionCall) -> bool:
    """Whether a call writes to its first tensor: also `weight.data = other`."""
    name = call.name
    if name == "data":
        return len(call.inputs) == 2
    return name == "setitem" or name.endswith("_") and not name.startswith("requires")


def hands_back(call: FunctionCall) -> bool:
    """Whether a call gives the very tensor that it was given: `x.float()` of what is so
    already, which is learned from as before though autograd is off there."""
    if kind(call.name) != "cast" and call.name != "contiguous":
        return False
    if call.kwargs.get("copy") or not call.inputs or not call.outputs:
        return False
    given, made = call.inputs[0], call.outputs[0]
    return (given.dtype, given.device) == (made.dtype, made.device)


def is_to_learn(call: FunctionCall) -> bool:
    """Whether a call makes a leaf that is learned, a temperature for example. Said of a
    number at the end, a loss, it only silences backward's error."""
    if call.name == "requires_grad_":
        told = (*call.args[1:], call.kwargs.get("requires_grad", True))
        return told[0] is not False and bool(call.outputs and call.outputs[0].shape)
    return not call.inputs and call.kwargs.get("requires_grad") is True
