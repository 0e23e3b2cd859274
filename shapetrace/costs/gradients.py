"""Through which function calls the recorded backwards ran, and towards which inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from shapetrace.records import FunctionCall, Recording, TensorRef
from shapetrace.signatures import kind


class Need(NamedTuple):
    """What a backward through one function call was asked for, one flag a tensor:
    towards which inputs, and from which outputs a gradient came."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]


#: by the function call's index
Needs = dict[int, Need]


def backwards(rec: Recording) -> Iterator[Needs]:
    """For each `.backward()` and `torch.autograd.grad` of the trace, the calls that it
    ran through. Where the records do not lead to them, the backward itself stands for
    what is unknown: torch's own code can switch autograd on and off unseen, as
    reentrant checkpointing does.

    A custom `autograd.Function` counts as what its forward calls.
    """
    producers = {
        ref.id: call
        for call in rec.functions
        if call.error is None
        for ref in call.outputs or ()
    }
    everything = tracked(rec)
    for call in rec.functions:
        if call.error is not None or not call.inputs:
            continue
        if call.name == "backward":
            roots = call.inputs[:1]
            if call.qualname == "torch.autograd.backward":
                roots = _refs(call.args[0] if call.args else call.inputs)
            yield _needed(producers, call, roots, everything)
        elif call.name == "grad" and "autograd" in call.qualname:
            given = [*call.args, *call.kwargs.values()]
            if len(given) >= 2:
                towards = {ref.id for ref in _refs(given[1])}
                yield _needed(producers, call, _refs(given[0]), tracked(rec, towards))


def is_backward(call: FunctionCall) -> bool:
    """Whether it is `.backward()` or `torch.autograd.grad`."""
    if call.name == "grad":
        return "autograd" in call.qualname
    return call.name == "backward"


def _refs(value: Any) -> tuple[TensorRef, ...]:
    if isinstance(value, TensorRef):
        return (value,)
    if isinstance(value, (tuple, list)):
        return tuple(ref for part in value for ref in _refs(part))
    return ()


def _needed(
    producers: dict[int, FunctionCall],
    backward: FunctionCall,
    roots: tuple[TensorRef, ...],
    flowing: set[int],
) -> Needs:
    open_ = [ref.id for ref in roots if ref.id in flowing]
    if not open_:
        return {backward.index: Need((), ())}
    reached = set(open_)
    through: dict[int, FunctionCall] = {}
    while open_:
        call = producers.get(open_.pop())
        if call is None or call.index in through or not call.grad:
            continue
        further = [ref.id for ref in call.inputs if ref.id in flowing]
        if further:
            through[call.index] = call
            reached.update(further)
            open_ += further
    return {
        index: Need(
            tuple(ref.id in flowing for ref in call.inputs),
            tuple(ref.id in reached for ref in call.outputs or ()),
        )
        for index, call in through.items()
    }


def tracked(rec: Recording, towards: set[int] | None = None) -> set[int]:
    """The tensors that a gradient flows through: towards these, or towards every
    tensor that asked for one."""
    asked = {key for key, origin in rec.origins.items() if origin.requires_grad}
    found = asked if towards is None else set(towards)
    for call in rec.functions:
        taken = any(ref.id in found for ref in call.inputs)
        flows = taken and call.grad and kind(call.name) != "detach"
        if not flows and call.name.endswith("_") and call.inputs:
            # changed in place without autograd, it still is what it was
            flows = call.inputs[0].id in found and call.name != "detach_"
        if call.name == "requires_grad_" and towards is None:
            asks = call.kwargs.get("requires_grad", True)
            flows = call.args[1:2] != (False,) and asks
        elif call.kwargs.get("requires_grad") is True and towards is None:
            flows = True  # torch.randn(…, requires_grad=True)
        if flows:
            for ref in call.outputs or ():
                if ref.dtype.is_floating_point or ref.dtype.is_complex:
                    found.add(ref.id)
    return found


def differentiable(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex
