"""What a torch function is called: the one name behind its spellings."""

from __future__ import annotations

from types import (
    BuiltinFunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any

import torch

_ALIASES = {
    "radd": "add",
    "rmul": "mul",
    "rdiv": "div",
    "truediv": "div",
    "rtruediv": "div",
    "floordiv": "floor_divide",
    "rfloordiv": "floor_divide",
    "rpow": "pow",
    "rmatmul": "matmul",
    "mod": "remainder",
    "rmod": "remainder",
    "invert": "bitwise_not",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "iadd": "add_",
    "isub": "sub_",
    "imul": "mul_",
    "idiv": "div_",
    "itruediv": "div_",
    "ipow": "pow_",
}

#: how torch's own functions call themselves, also where a library has put something of
#: its own in their place (torchlens wraps them for the rest of the process)
_IN_TORCH = "_VariableFunctionsClass."


def function_names(func: Any) -> tuple[str, str]:
    """Short and qualified name of a torch function: ("add", "torch.Tensor.__radd__").

    >>> function_names(torch.Tensor.__getitem__)
    ('getitem', 'torch.Tensor.__getitem__')
    >>> function_names(torch.nn.functional.linear)
    ('linear', 'torch.nn.functional.linear')
    """
    if isinstance(func, MethodWrapperType):
        name = getattr(func.__self__, "__name__", "get")
        return name, f"torch.Tensor.{name}"
    name = getattr(func, "__name__", type(func).__name__)
    short = name
    if name.startswith("__") and name.endswith("__"):
        short = name.strip("_")
        short = _ALIASES.get(short, short)
    if isinstance(func, (MethodDescriptorType, WrapperDescriptorType)):
        return short, f"torch.Tensor.{name}"
    if getattr(torch.nn.functional, name, None) is func:
        return short, f"torch.nn.functional.{name}"
    if isinstance(func, BuiltinFunctionType) and (
        getattr(torch, name, None) is func or func.__qualname__.startswith(_IN_TORCH)
    ):
        return short, f"torch.{name}"
    module = getattr(func, "__module__", None) or "torch"
    if module == "torch._tensor" or getattr(torch.Tensor, name, None) is func:
        return short, f"torch.Tensor.{name}"
    if module.startswith("torch._ops."):  # torch.ops.aten.mm, and its overloads
        return short, f"{module}.{name.partition('.')[0]}"
    return short, f"{module}.{getattr(func, '__qualname__', name)}"
