"""One recorded call with other tensors: as data, and really made on zeros."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.records import FunctionCall, Opaque, TensorRef
from shapetrace.signatures import (
    conflicts,
    is_method,
    kind,
    loss,
    loss_input,
    loss_target,
)
from shapetrace.signatures.probe import resolve
from shapetrace.source.line import find

#: elements in all inputs of a call that is really made
_SMALL = 1 << 17


def with_inputs(call: FunctionCall, inputs: tuple[TensorRef, ...]) -> FunctionCall:
    """The call with other tensors in the places of its own."""
    if inputs == call.inputs:
        return call
    at = {ref.path: ref for ref in inputs}
    return replace(
        call,
        inputs=inputs,
        args=tuple(_put(arg, at) for arg in call.args),
        kwargs={name: _put(arg, at) for name, arg in call.kwargs.items()},
    )


def _put(value: Any, at: Mapping[str, TensorRef]) -> Any:
    if isinstance(value, TensorRef):
        return at.get(value.path, value)
    if isinstance(value, (list, tuple)):
        return type(value)(_put(part, at) for part in value)
    return value


def followed(
    now: FunctionCall, before: tuple[TensorRef, ...], inputs: tuple[TensorRef, ...]
) -> FunctionCall | None:
    """The call with those numbers changed that had been sizes which are others now: the
    code may well compute them, where it does not write them out. None where it
    conflicts all the same."""
    changed: dict[int, int] = {}
    for old, new in zip(before, inputs):
        if len(old.shape) == len(new.shape):
            changed |= {a: b for a, b in zip(old.shape, new.shape) if a != b}
        if prod(old.shape) != prod(new.shape):
            changed.setdefault(prod(old.shape), prod(new.shape))
    if not changed:
        return None

    line, method = find(now.source), is_method(now)

    def follow(value: Any, path: str) -> Any:
        if type(value) is int and value in changed:
            node = None if line is None else line.argument(path, method)
            return value if isinstance(node, ast.Constant) else changed[value]
        if isinstance(value, (list, tuple)):
            parts = enumerate(value)
            return type(value)(follow(part, f"{path}[{at}]") for at, part in parts)
        return value

    kwargs = {
        name: follow(arg, f"kwargs['{name}']") for name, arg in now.kwargs.items()
    }
    args = tuple(follow(arg, f"args[{at}]") for at, arg in enumerate(now.args))
    found = replace(now, args=args, kwargs=kwargs)
    if found != now and not conflicts(found):
        return found
    return _scaled(now, before, inputs) if kind(now.name) == "view" else None


def _scaled(
    now: FunctionCall, before: tuple[TensorRef, ...], inputs: tuple[TensorRef, ...]
) -> FunctionCall | None:
    """A view with the first of its computed sizes as many times as large as its tensor
    became: of `b * heads` no size alone is the product."""
    old, new = prod(before[0].shape), prod(inputs[0].shape)
    line, method = find(now.source), is_method(now)
    if line is None or not old or new % old:
        return None
    for at, size in enumerate(now.args):
        node = line.argument(f"args[{at}]", method)
        if type(size) is int and size > 0 and isinstance(node, ast.BinOp):
            args = (*now.args[:at], size * (new // old), *now.args[at + 1 :])
            found = replace(now, args=args)
            if not conflicts(found):
                return found
    return None


def is_on_one_device(call: FunctionCall) -> bool:
    return len({ref.device for ref in call.inputs if ref.shape}) < 2


def beyond_classes(call: FunctionCall, ranges: Mapping[int, tuple[int, int]]) -> str:
    """The class index for which a loss would have no class, in words; "" where there
    is none, as far as the values of its target were read."""
    facts, at, where = loss(call.name), loss_target(call), loss_input(call)
    if facts is None or "indices" not in facts.targets or at is None or where is None:
        return ""
    prediction, target = call.inputs[where].shape, call.inputs[at]
    largest = ranges.get(target.id, (0, 0))[1]
    if facts.class_dim is None or target.dtype.is_floating_point:
        return ""
    classes = prediction[facts.class_dim if len(prediction) > 1 else 0]
    if largest < classes or largest in (*call.args, *call.kwargs.values()):
        return ""  # it fits, or is the index that is ignored
    return f"then the target holds class {largest}, and there are {classes} classes"


def really_goes(call: FunctionCall) -> bool | None:
    """Whether torch takes the call, made on zeros; None where it is not to be made."""
    if sum(prod(ref.shape) for ref in call.inputs) > _SMALL:
        return None
    if call.name == "setitem" and any(r.dtype == torch.bool for r in call.inputs[1:2]):
        return None  # how many places a mask chooses its values say, not its shape
    func = resolve(call)
    if func is None:
        return None
    try:
        with torch_internals.unseen_by_modes(), torch.no_grad():
            zeros = {
                ref.path: torch.zeros(ref.shape, dtype=ref.dtype) for ref in call.inputs
            }
            args = [_filled(arg, zeros) for arg in call.args]
            kwargs = {name: _filled(arg, zeros) for name, arg in call.kwargs.items()}
    except (KeyError, TypeError, RuntimeError):
        # an argument that is not kept as data, or a type that has no zeros
        return None
    try:
        with torch_internals.unseen_by_modes(), torch.no_grad():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                func(*args, **kwargs)
    except Exception:
        # the call is made to see whether it raises; torch has no type of its own for
        # arguments that do not fit, and raises nearly all of Python's
        return False
    return True


def _filled(value: Any, zeros: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, TensorRef):
        return zeros[value.path]
    if isinstance(value, Opaque):
        raise TypeError(value.type)
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(part, zeros) for part in value)
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value
