"""The source text of a module's constructor, from what was recorded of the module."""

from __future__ import annotations

import functools
import importlib
import inspect
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import shapetrace.torch_internals as torch_internals
from shapetrace.records import ModuleInfo, TensorRef

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
    given = _arguments(info, changes)
    if given is None:
        return None
    parts = []
    for name, default, required in parameters(info.qualname) or ():
        if name not in given:
            continue
        value = given[name]
        if required and _positional(name):
            parts.append(_text(value))
        elif required or not _is_default(name, value, default, info):
            parts.append(f"{name}={_text(value)}")
    return f"nn.{info.type}({', '.join(parts)})"


def _arguments(info: ModuleInfo, changes: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments that a module was built with, as far as it shows them, and
    `changes`; None where one that is required is not known."""
    arguments = parameters(info.qualname)
    if arguments is None:
        return None
    own = {ref.path for ref in (*info.parameters, *info.buffers)}
    given = {}
    for name, _, required in arguments:
        if name in changes:
            given[name] = changes[name]
        elif name in _SHOWN_BY and name not in info.attributes:
            given[name] = any(tensor in own for tensor in _SHOWN_BY[name])
        elif name in info.attributes:
            given[name] = info.attributes[name]
        elif required:
            return None
    return given


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


def changed(info: ModuleInfo, **changes: Any) -> ModuleInfo | None:
    """What would be recorded of the module, were it built with `changes`; None where
    that cannot be told.

    Raises
    ------
    ValueError
        Where torch does not build such a module.

    Examples
    --------
    >>> from shapetrace.records import ModuleInfo
    >>> info = ModuleInfo("pool", "MaxPool2d", "torch.nn.modules.pooling.MaxPool2d",
    ...                   attributes={"kernel_size": 2, "stride": 2})
    >>> changed(info, stride=1).attributes
    {'kernel_size': 2, 'stride': 1}
    """
    return all_changed([info], **changes)[info.name]


def all_changed(
    infos: Iterable[ModuleInfo], **changes: Any
) -> dict[str, ModuleInfo | None]:
    """The same of several modules, by their names: of those that are built alike and
    follow one another, as in blocks that repeat, the first is asked."""
    found: dict[str, ModuleInfo | None] = {}
    asked: tuple[str, Any, list[str]] | None = None
    new: _Built | None = None
    for info in infos:
        paths = [ref.path for ref in (*info.parameters, *info.buffers)]
        alike = info.qualname, info.attributes, paths
        if alike != asked:
            asked, new = alike, _rebuilt(info, set(paths), changes)
        found[info.name] = (
            None
            if new is None
            else replace(
                info,
                parameters=_resized(info.parameters, new.shapes),
                buffers=_resized(info.buffers, new.shapes),
                attributes={**info.attributes, **changes, **new.attributes},
            )
        )
    return found


class _Built(NamedTuple):
    """A module that torch built: the shapes of its parameters and buffers, and what it
    holds beside them, as `normalized_shape`, which is given as 32 and held as (32,)."""

    shapes: dict[str, tuple[int, ...]]
    attributes: dict[str, Any]


def _rebuilt(
    info: ModuleInfo, paths: set[str], changes: dict[str, Any]
) -> _Built | None:
    """What `changes` make of a module with tensors of those names."""
    if not paths:
        return _Built({}, {})
    try:
        usual = _built(info, {})
    except ValueError:
        return None
    new = _built(info, changes) if usual is not None else None
    if usual is None or new is None or not paths <= usual.shapes.keys():
        return None  # its weights are not where torch puts them
    held = {
        key: value
        for key, value in new.attributes.items()
        if key in info.attributes and usual.attributes.get(key) != value
    }
    return _Built(new.shapes, held)


def _built(info: ModuleInfo, changes: dict[str, Any]) -> _Built | None:
    given = _arguments(info, changes)
    if given is None or not changes.keys() <= given.keys():
        return None
    width = info.attributes.get("embed_dim")
    for name in {"kdim", "vdim"} - changes.keys():
        if info.attributes.get(name) == width:  # as where it is not given
            given.pop(name, None)
    fixed = ((k, tuple(v) if isinstance(v, list) else v) for k, v in given.items())
    return _build(*info.qualname.rsplit(".", 1), tuple(fixed))


@functools.lru_cache(maxsize=1024)
def _build(home: str, name: str, given: tuple[tuple[str, Any], ...]) -> _Built | None:
    """A module of torch's built on the meta device, which takes no memory and no random
    numbers."""
    kind = getattr(importlib.import_module(home), name)
    if hasattr(kind, "reset_parameters"):
        # an embedding's normal numbers cost a second where nothing was on the meta
        # device before: torch then loads all that it has for that
        kind = type(name, (kind,), {"reset_parameters": lambda self: None})
    try:
        with torch_internals.unseen_by_modes(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = kind(**dict(given), device="meta")
    except TypeError:  # it takes no device, or other arguments than it shows
        return None
    except Exception as error:  # whatever torch raises, it does not build it
        raise ValueError(str(error)) from None
    tensors = [
        *module.named_parameters(recurse=False),
        *module.named_buffers(recurse=False),
    ]
    shapes = {path: tuple(tensor.shape) for path, tensor in tensors}
    plain = (bool, int, float, str, tuple)
    held = {key: own for key, own in vars(module).items() if isinstance(own, plain)}
    return _Built(shapes, held)


def _resized(
    refs: tuple[TensorRef, ...], shapes: dict[str, tuple[int, ...]]
) -> tuple[TensorRef, ...]:
    return tuple(
        replace(ref, shape=shapes[ref.path]) for ref in refs if ref.path in shapes
    )
