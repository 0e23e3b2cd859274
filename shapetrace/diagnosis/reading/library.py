"""What the functions and classes of installed packages give, by their names."""

from __future__ import annotations

import math
from typing import Any

import torch

from shapetrace.diagnosis.reading import functions
from shapetrace.diagnosis.reading.values import UNKNOWN, Built
from shapetrace.records import ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import module_function


def of_library(name: str, args: list[Any], kwargs: dict[str, Any], line: int) -> Any:
    """What a function or class of torch's or of `math` gives."""
    home, _, last = name.rpartition(".")
    if last.startswith(("is_scripting", "is_tracing", "is_compiling", "has_torch_f")):
        return False  # it is run, and so it is read, as plain Python
    if name == "torch.autograd.grad":
        of = kwargs.get("inputs", args[1] if len(args) > 1 else UNKNOWN)
        return tuple(of) if isinstance(of, (list, tuple)) else (of,)
    if name == "types.SimpleNamespace" and not args:
        return dict(kwargs)
    if name == "itertools.chain" and all(isinstance(arg, list) for arg in args):
        return [part for arg in args for part in arg]
    if home == "math" and all(isinstance(arg, (int, float)) for arg in args):
        try:
            return getattr(math, last)(*args)
        # outside of the function's domain, too large, or no number that it takes
        except (ValueError, ArithmeticError, TypeError):
            return UNKNOWN
    if home.startswith("torch.nn") and last[:1].isupper():
        return _built(last, args, kwargs)
    if home.split(".")[0] == "torch":
        if last in ("tensor", "as_tensor"):
            return _made_of(args[0]) if args else UNKNOWN
        return functions.function(last, name, args, kwargs, line)
    return UNKNOWN


def _built(kind: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """`nn.CrossEntropyLoss()`; what a layer with weights gives is unknown, as these
    are."""
    cls = getattr(torch.nn, kind, None)
    if cls is None:
        return UNKNOWN
    attributes = {"reduction": "mean", **kwargs}
    for name, value in zip(("dim",), args, strict=False):
        attributes.setdefault(name, value)
    qualname = f"{cls.__module__}.{kind}"
    info = ModuleInfo("", kind, qualname, attributes=attributes)
    probe = TensorRef("args[0]", -2, (1, 1), torch.float32, torch.device("cpu"))
    call = ModuleCall(-1, None, 0, "", kind, (probe,), None)
    return UNKNOWN if module_function(call, info) is None else Built(info)


def _made_of(value: Any) -> Any:
    """`torch.tensor([1, 2])`."""
    shape: list[int] = []
    while isinstance(value, (list, tuple)) and value:
        shape.append(len(value))
        value = value[0]
    if not isinstance(value, (int, float)):
        return UNKNOWN
    kind = torch.float32 if isinstance(value, float) else torch.int64
    return TensorRef("", -2, tuple(shape), kind, torch.device("cpu"))
