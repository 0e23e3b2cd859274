"""Python's own functions on values that are known in part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from shapetrace.diagnosis.reading.values import UNKNOWN, Layer, Method, is_known
from shapetrace.records import TensorRef

BUILTINS = frozenset(
    "len range enumerate zip reversed list tuple sum min max abs int float bool round "
    "isinstance any all dict sorted print getattr str map".split()
)
#: what `isinstance` can be told of
_KINDS: dict[str, type] = {
    **{"list": list, "tuple": tuple, "dict": dict, "int": int, "float": float},
    **{"str": str, "bool": bool, "Tensor": torch.Tensor},
}
_LONGEST = 128
Children = Callable[[str], list[Layer]]


def items(value: Any, children: Children) -> list[Any] | None:
    """What a loop over a value runs through; None where that is not known."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, range):
        return list(value) if len(value) <= _LONGEST else None
    if isinstance(value, Layer):
        return list(children(value.name))
    if isinstance(value, TensorRef) and value.shape and value.shape[0] <= _LONGEST:
        return [replace(value, id=-2, shape=value.shape[1:])] * value.shape[0]
    return None


def built_in(
    name: str, args: list[Any], kwargs: dict[str, Any], children: Children
) -> Any:
    if name == "isinstance" and len(args) == 2:
        return _is_instance(*args)
    if name == "len" and len(args) == 1:
        if isinstance(args[0], TensorRef):
            return args[0].shape[0] if args[0].shape else UNKNOWN
        found = items(args[0], children)
        return UNKNOWN if found is None else len(found)
    if name in ("enumerate", "zip", "reversed", "list", "tuple", "sum"):
        return _sequence(name, args, kwargs, children)
    if name == "dict":
        return dict(kwargs) if not args else UNKNOWN
    if not all(map(is_known, args)) or kwargs:
        return UNKNOWN
    plain: dict[str, Callable[..., Any]] = {
        **{"range": range, "min": min, "max": max, "abs": abs, "int": int},
        **{"float": float, "bool": bool, "round": round, "any": any, "all": all},
        "sorted": sorted,
    }
    if name not in plain or any(isinstance(arg, (TensorRef, Layer)) for arg in args):
        return UNKNOWN
    try:
        return plain[name](*args)
    # arguments that the program's own call would not take either: nothing to go on with
    except (TypeError, ValueError, ArithmeticError):
        return UNKNOWN


def _is_instance(value: Any, kind: Any) -> Any:
    """Whether a value is one of Python's own kinds, or a tensor."""
    if isinstance(kind, tuple):
        told = [_is_instance(value, each) for each in kind]
        return True if True in told else UNKNOWN if UNKNOWN in told else False
    name = getattr(kind, "name", "").rpartition(".")[2]
    known = (TensorRef, list, tuple, dict, int, float, str, bool)
    if not isinstance(value, known) or name not in _KINDS:
        return UNKNOWN
    if isinstance(value, TensorRef) or name == "Tensor":
        return isinstance(value, TensorRef) and name == "Tensor"
    return isinstance(value, _KINDS[name])


def _sequence(
    name: str, args: list[Any], kwargs: dict[str, Any], children: Children
) -> Any:
    found = [items(arg, children) for arg in args]
    if not args:
        return [] if name == "list" else ()
    first = found[0]
    if first is None:
        return UNKNOWN
    if name == "enumerate":
        start = kwargs.get("start", args[1] if len(args) > 1 else 0)
        if not isinstance(start, int):
            return UNKNOWN
        return list(enumerate(first, start))
    if name == "zip":
        rows = [each for each in found if each is not None]
        if not rows:
            return UNKNOWN
        length = min(map(len, rows))
        full = [each if each is not None else [UNKNOWN] * length for each in found]
        return [tuple(row) for row in zip(*full, strict=False)]
    if name == "reversed":
        return first[::-1]
    if name == "sum":
        if all(isinstance(each, (int, float)) for each in first):
            return sum(first)
        refs = [each for each in first if isinstance(each, TensorRef)]
        same = len(refs) == len(first) and len({ref.shape for ref in refs}) == 1
        return replace(refs[0], id=-2) if same else UNKNOWN
    return first if name == "list" else tuple(first)


def method_of_value(func: Method, args: list[Any]) -> Any:
    """A method of a list or a dict."""
    of, name = func.of, func.name
    if isinstance(of, str):
        if not hasattr(of, name) or not all(
            isinstance(arg, (str, int)) for arg in args
        ):
            return UNKNOWN
        try:
            return getattr(of, name)(*args)
        # arguments that the program's own call would not take either, or a format that
        # has names
        except (TypeError, ValueError, LookupError):
            return UNKNOWN
    if isinstance(of, list):
        if name == "append" and args:
            of.append(args[0])
            return None
        if name == "extend" and args and isinstance(args[0], (list, tuple)):
            of.extend(args[0])
            return None
        if name == "insert" and len(args) == 2 and isinstance(args[0], int):
            of.insert(args[0], args[1])
            return None
        if name == "pop" and of and all(isinstance(arg, int) for arg in args):
            return of.pop(*args) if not args or -len(of) <= args[0] < len(of) else None
    if isinstance(of, dict):
        if name in ("items", "keys", "values"):
            return list(getattr(of, name)())
        if name in ("get", "pop") and args and isinstance(args[0], (str, int)):
            missing = args[1] if len(args) > 1 else None
            return of.get(args[0], missing)
    return UNKNOWN
