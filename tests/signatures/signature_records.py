"""Records of torch calls, made by hand from what torch really does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import resolve_name

from shapetrace.records import CallError, FunctionCall, TensorRef

_NAMES = {"floordiv": "floor_divide", "truediv": "div"}


def record(func: Callable[..., Any], *args: Any, **kwargs: Any) -> FunctionCall:
    """The record of `func(*args, **kwargs)`, whether it returns or raises."""
    inputs: list[TensorRef] = []
    frozen = tuple(_frozen(a, f"args[{i}]", inputs) for i, a in enumerate(args))
    named = {k: _frozen(a, f"kwargs['{k}']", inputs) for k, a in kwargs.items()}
    outputs: list[TensorRef] | None = []
    error = None
    try:
        _flatten(func(*args, **kwargs), "output", outputs)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as raised:
        error = CallError(type(raised).__name__, str(raised))
        outputs = None
    name = func.__name__
    if name.startswith("__"):
        name = name.strip("_")
        name = _NAMES.get(name, name)
    return FunctionCall(
        0,
        None,
        name,
        resolve_name(func) or name,
        tuple(inputs),
        None if outputs is None else tuple(outputs),
        args=frozen,
        kwargs=named,
        error=error,
    )


def _ref(tensor: torch.Tensor, path: str, number: int) -> TensorRef:
    return TensorRef(path, number, tuple(tensor.shape), tensor.dtype, tensor.device)


def _frozen(value: Any, path: str, inputs: list[TensorRef]) -> Any:
    if isinstance(value, torch.Tensor):
        inputs.append(_ref(value, path, len(inputs)))
        return inputs[-1]
    if isinstance(value, (tuple, list)):
        parts = [_frozen(v, f"{path}[{i}]", inputs) for i, v in enumerate(value)]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def _flatten(value: Any, path: str, found: list[TensorRef]) -> None:
    if isinstance(value, torch.Tensor):
        found.append(_ref(value, path, 1000 + len(found)))
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            _flatten(part, f"{path}[{i}]", found)
