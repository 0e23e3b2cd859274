"""The source text of a module's constructor, from what was recorded of the module."""

from __future__ import annotations

import functools
import importlib
import inspect
from dataclasses import replace
from typing import Any

from shapetrace.records import ModuleInfo, TensorRef
from shapetrace.signatures.sizes import sizes

#: arguments that decide on presence alone, and the tensor that shows them
_SHOWN_BY = {
    "bias": ("bias", "bias_ih_l0", "in_proj_bias"),
    "elementwise_affine": ("weight",),
    "affine": ("weight",),
    "track_running_stats": ("running_mean",),
}
_SKIPPED = ("device", "dtype", "self")


@functools.lru_cache(maxsize=256)
def parameters(qualname: str) -> tuple[tuple[str, Any, bool], ...] | None:
    """Name, default and whether it goes by position, of each argument of a class of
    torch's; None for the user's own classes, whose arguments are not attributes."""
    home, _, name = qualname.rpartition(".")
    if not home.startswith("torch.nn.modules"):
        return None
    kind = getattr(importlib.import_module(home), name, None)
    if not isinstance(kind, type):
        return None
    found = kind
    while "__init__" not in vars(found):
        found = found.__mro__[1]
    signature = inspect.signature(found)
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(p.kind not in plain for p in signature.parameters.values()):
        return _recurrent(name)
    return tuple(
        (p.name, p.default, p.default is p.empty)
        for p in signature.parameters.values()
        if p.name not in _SKIPPED
    )


def _recurrent(name: str) -> tuple[tuple[str, Any, bool], ...] | None:
    """RNN, LSTM and GRU take `*args` and say the rest in their documentation."""
    if name not in ("RNN", "LSTM", "GRU"):
        return None
    none = inspect.Parameter.empty
    own = (("nonlinearity", "tanh", False),) if name == "RNN" else ()
    last = (("proj_size", 0, False),) if name == "LSTM" else ()
    return (
        ("input_size", none, True),
        ("hidden_size", none, True),
        ("num_layers", 1, False),
        *own,
        ("bias", True, False),
        ("batch_first", False, False),
        ("dropout", 0.0, False),
        ("bidirectional", False, False),
        *last,
    )


def constructor(info: ModuleInfo, **changes: Any) -> str | None:
    """`nn.Conv2d(1, 64, kernel_size=7, bias=False)`: every argument that differs from
    its default, with `changes` applied. None for a class that is not torch's own.

    >>> from shapetrace.records import ModuleInfo
    >>> known = {"in_features": 256, "out_features": 120}
    >>> info = ModuleInfo("fc1", "Linear", "torch.nn.modules.linear.Linear",
    ...                   attributes=known)
    >>> constructor(info, in_features=400)
    'nn.Linear(400, 120, bias=False)'
    """
    arguments = parameters(info.qualname)
    if arguments is None:
        return None
    own = {ref.path for ref in (*info.parameters, *info.buffers)}
    parts = []
    for name, default, required in arguments:
        if name in changes:
            value = changes[name]
        elif name in _SHOWN_BY and name not in info.attributes:
            value = any(tensor in own for tensor in _SHOWN_BY[name])
        elif name in info.attributes:
            value = info.attributes[name]
        elif required:
            return None
        else:
            continue
        if required:
            if _positional(name):
                parts.append(_text(value))
            else:
                parts.append(f"{name}={_text(value)}")
        elif not _is_default(name, value, default, info):
            parts.append(f"{name}={_text(value)}")
    return f"nn.{info.type}({', '.join(parts)})"


def _positional(name: str) -> bool:
    """Sizes are known by their place; a kernel is more readable by its name."""
    return name != "kernel_size"


def _is_default(name: str, value: Any, default: Any, info: ModuleInfo) -> bool:
    if name in ("kdim", "vdim"):
        return bool(value == info.attributes.get("embed_dim"))
    if value == default or _uniform(value) == default:
        return True
    # a pooling's stride is its kernel where it is not given
    return (
        name == "stride"
        and default is None
        and value == info.attributes.get("kernel_size")
    )


def _uniform(value: Any) -> Any:
    """A tuple of equal numbers as the one number."""
    if isinstance(value, (tuple, list)) and value and len(set(value)) == 1:
        return value[0]
    return value


def _text(value: Any) -> str:
    return repr(_uniform(value))


# -- the changed module ---------------------------------------------------------------

#: arguments that no parameter's shape depends on
_PLAIN = ("padding", "stride", "dilation", "output_padding", "batch_first")


def changed(info: ModuleInfo, **changes: Any) -> ModuleInfo | None:
    """What would be recorded of the module, were it built with `changes`; None where
    its parameters' new shapes cannot be told."""
    shapes = {ref.path: list(ref.shape) for ref in (*info.parameters, *info.buffers)}
    known = sizes(info.type)
    for name, value in changes.items():
        if name in known:
            for path, dim, over in known[name]:
                if path not in shapes:
                    continue
                if dim is None:
                    shapes[path] = [value] if isinstance(value, int) else [*value]
                else:
                    parts = 1 if over is None else info.attributes.get(over, 1)
                    shapes[path][dim] = value // parts
        elif name == "kernel_size" and info.type.startswith("Conv"):
            rank = len(shapes["weight"]) - 2
            shapes["weight"][2:] = [value] * rank if isinstance(value, int) else value
        elif info.parameters and name not in _PLAIN:
            return None
    return replace(
        info,
        parameters=_resized(info.parameters, shapes),
        buffers=_resized(info.buffers, shapes),
        attributes={**info.attributes, **changes},
    )


def _resized(
    refs: tuple[TensorRef, ...], shapes: dict[str, list[int]]
) -> tuple[TensorRef, ...]:
    return tuple(replace(ref, shape=tuple(shapes[ref.path])) for ref in refs)
