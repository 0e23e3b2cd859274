"""What torch's functions and layers give for shapes alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.diagnosis.detection.expected import clash_text
from shapetrace.diagnosis.reading.values import (
    UNKNOWN,
    Conflicting,
    Unknown,
    placed,
)
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import (
    broadcasts,
    conflicts,
    foresee,
    inner_function,
    is_loss,
)
from shapetrace.signatures.probe import resolve
from shapetrace.signatures.refusal import Refused, of_torch

#: arguments that no shape depends on
_ASIDE = frozenset(
    "device generator memory_format non_blocking requires_grad inplace training copy "
    "pin_memory layout out rounding_mode align_corners mode antialias eps p".split()
)
#: what gives a tensor of the same shape, whatever else it is given
_KEEPS = frozenset(
    "to cuda cpu detach clone contiguous float double half bfloat16 long int bool byte "
    "requires_grad_ detach_ type type_as data retain_grad".split()
)
_CASTS = {
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "long": torch.int64,
    "int": torch.int32,
    "bool": torch.bool,
    "byte": torch.uint8,
}
_TELLS = frozenset(
    "gt lt ge le eq ne isnan isinf isfinite logical_and logical_or logical_not "
    "logical_xor isclose".split()
)
_INDICES = frozenset("argmax argmin argsort nonzero searchsorted bucketize".split())
_WITH_INDICES = frozenset("max min topk sort median mode kthvalue cummax".split())
_RECURRENT = ("RNN", "LSTM", "GRU")
#: elements of a call that is really made
_SMALL = 1 << 14
#: where a number stands that no shape depends on
_VALUES = {
    **{"full": 1, "full_like": 1, "new_full": 2, "masked_fill": 2, "fill_": 1},
    **{"masked_fill_": 2, "index_fill": 3, "leaky_relu": 1, "pow": 1, "tril": 1},
}
#: whose shapes follow from values
_BY_VALUE = frozenset(
    "nonzero argwhere masked_select unique unique_consecutive bincount where".split()
)
_HOST = torch.device("cpu")


def function(
    name: str,
    qualname: str,
    arguments: list[Any],
    keywords: dict[str, Any],
    line: int,
) -> Any:
    """What a function of torch's gives; `Conflicting` where it would not take that."""
    if name in _KEEPS and arguments and isinstance(arguments[0], TensorRef):
        return _cast(name, arguments, keywords)
    keywords = {
        key: value
        for key, value in keywords.items()
        if key not in _ASIDE or isinstance(value, TensorRef)
    }
    value = _VALUES.get(name)
    if value is not None and len(arguments) > value and _hides(arguments[value]):
        arguments = [*arguments[:value], 0, *arguments[value + 1 :]]
    if any(map(_hides, (*arguments, *keywords.values()))):
        return UNKNOWN
    inputs: list[TensorRef] = []
    args = tuple(
        placed(value, f"args[{n}]", inputs.append) for n, value in enumerate(arguments)
    )
    kwargs = {
        key: placed(value, f"kwargs['{key}']", inputs.append)
        for key, value in keywords.items()
    }
    call = FunctionCall(
        -1, None, name, qualname, tuple(inputs), None, args=args, kwargs=kwargs
    )
    return result(call, f"`{name}` at line {line}")


def _hides(value: Any) -> bool:
    """Whether an argument is not known through and through."""
    if isinstance(value, (list, tuple)):
        return any(map(_hides, value))
    if isinstance(value, slice):
        return any(map(_hides, (value.start, value.stop, value.step)))
    plain = (int, float, complex, str, TensorRef, torch.dtype, torch.device)
    return value is not None and value is not ... and not isinstance(value, plain)


def _cast(name: str, arguments: list[Any], keywords: dict[str, Any]) -> TensorRef:
    ref: TensorRef = arguments[0]
    given = [*arguments[1:], *keywords.values()]
    kind = _CASTS.get(name, ref.dtype)
    for value in given:
        if isinstance(value, torch.dtype):
            kind = value
        elif isinstance(value, TensorRef):
            kind = value.dtype
    return replace(ref, dtype=kind)


def result(call: FunctionCall, said: str) -> Any:
    """What a call gives, by its signature; on zeros where it has none."""
    found, shapes = foresee(call)
    if found:
        clash = found[0]
        raise Conflicting(clash_text(said, clash.right.name or clash.name, clash))
    if is_loss(call.name) and broadcasts(call):
        both = " and ".join(str(ref.shape) for ref in call.inputs[:2])
        raise Conflicting(f"then {said} stretches one side over the other, {both}")
    if shapes is None:
        return _made(call)
    if any(size < 1 for shape in shapes for size in shape):
        if not any(size < 1 for ref in call.inputs for size in ref.shape):
            raise Conflicting(f"then the input of {said} is too small for its window")
    refs = tuple(
        TensorRef("", -2, shape, _kind(call, n), _home(call))
        for n, shape in enumerate(shapes)
    )
    return refs[0] if len(refs) == 1 and not _gives_several(call.name) else refs


def _gives_several(name: str) -> bool:
    return "split" in name or name in ("chunk", "unbind", "meshgrid")


def _kind(call: FunctionCall, output: int) -> torch.dtype:
    """The type of what a call gives."""
    given = call.kwargs.get("dtype")
    if isinstance(given, torch.dtype):
        return given
    if call.name.rstrip("_") in _TELLS:
        return torch.bool
    if call.name in _INDICES or (output == 1 and call.name in _WITH_INDICES):
        return torch.int64
    if call.name in ("embedding", "where") and len(call.inputs) > 1:
        return call.inputs[1].dtype
    if call.name in ("randint", "randperm", "one_hot"):
        return torch.int64
    kinds = [ref.dtype for ref in call.inputs]
    if call.name in ("getitem", "setitem", "gather", "index_select"):
        kinds = kinds[:1]
    floating = [kind for kind in kinds if kind.is_floating_point]
    if not kinds:
        return torch.float32
    return (floating or kinds)[0]


def _home(call: FunctionCall) -> torch.device:
    return call.inputs[0].device if call.inputs else _HOST


def _made(call: FunctionCall) -> Any:
    """What torch itself gives on zeros, for what no signature knows."""
    func = resolve(call)
    if func is None or not call.inputs or call.name in _BY_VALUE:
        return UNKNOWN
    large = sum(math.prod(ref.shape) for ref in call.inputs) > _SMALL
    where = torch.device("meta") if large else _HOST
    if call.name == "getitem" and any(ref.dtype == torch.bool for ref in call.inputs):
        return UNKNOWN

    def filled(value: Any) -> Any:
        if isinstance(value, TensorRef):
            return torch.zeros(value.shape, dtype=value.dtype, device=where)
        if isinstance(value, (list, tuple)):
            return type(value)(map(filled, value))
        return value

    with torch_internals.unseen_by_modes(), torch.no_grad():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                args = [filled(value) for value in call.args]
                kwargs = {key: filled(value) for key, value in call.kwargs.items()}
            except (RuntimeError, TypeError):  # a type that has no zeros, a named tuple
                return UNKNOWN
            try:
                made = of_torch(func, *args, **kwargs)
            except Refused:  # whether they fit is for the signatures to say
                return UNKNOWN
    return _described(made)


def _described(made: Any) -> Any:
    if isinstance(made, torch.Tensor):
        return TensorRef("", -2, tuple(made.shape), made.dtype, _HOST)
    if isinstance(made, (list, tuple)):
        return tuple(map(_described, made))
    return made if isinstance(made, (int, float, bool)) else UNKNOWN


def layer(
    info: ModuleInfo,
    arguments: list[Any],
    keywords: dict[str, Any],
    modules: Mapping[str, ModuleInfo],
    said: str,
) -> Any:
    """What one of torch's layers gives, which a text calls `said`."""
    inputs: list[TensorRef] = []
    for n, value in enumerate(arguments):
        placed(value, f"args[{n}]", inputs.append)
    for key, value in keywords.items():
        placed(value, f"kwargs['{key}']", inputs.append)
    if not inputs or arguments and not isinstance(arguments[0], TensorRef):
        return UNKNOWN
    given = tuple(inputs)
    call = ModuleCall(-1, None, 0, info.name, info.type, given, None)
    if info.qualname.startswith("torch.nn.modules.transformer."):
        return _transformer(info, inputs, modules, said)
    if info.type in _RECURRENT:
        ranks = {len(ref.shape) for ref in inputs}
        if len(ranks) > 1:
            shapes = " and ".join(str(ref.shape) for ref in inputs)
            raise Conflicting(f"then {said} gets {shapes}, of unequal dimensions")
    if info.type in _RECURRENT and len(inputs[0].shape) == 2:
        return _unbatched(info, arguments, modules, said)
    made = inner_function(call, info, modules)
    if made is None:
        return UNKNOWN
    if info.type == "MultiheadAttention":
        found = conflicts(made)
        if found:
            role = found[0].right.name or found[0].name
            raise Conflicting(clash_text(said, role, found[0]))
        return (inputs[0], UNKNOWN)
    value = result(made, said)
    if info.type == "LSTM" and isinstance(value, tuple) and len(value) == 3:
        return (value[0], value[1:])
    return value


def _unbatched(
    info: ModuleInfo,
    arguments: list[Any],
    modules: Mapping[str, ModuleInfo],
    said: str,
) -> Any:
    """A recurrent layer takes two dimensions for one sequence without a batch."""
    if len(arguments) > 1:
        return UNKNOWN
    ref = arguments[0]
    batch = 0 if info.attributes.get("batch_first") else 1
    shape = (1, *ref.shape) if batch == 0 else (ref.shape[0], 1, ref.shape[1])
    value = layer(info, [replace(ref, shape=shape)], {}, modules, said)
    if not isinstance(value, tuple):
        return UNKNOWN

    def without(part: Any, at: int) -> Any:
        if isinstance(part, tuple):
            return tuple(without(each, at) for each in part)
        return replace(part, shape=(*part.shape[:at], *part.shape[at + 1 :]))

    return (without(value[0], batch), without(value[1], 1))


def _transformer(
    info: ModuleInfo,
    inputs: list[TensorRef],
    modules: Mapping[str, ModuleInfo],
    said: str,
) -> Any:
    """They keep the shape of what they are given, and take one width."""
    for name, inside in modules.items():
        if name.startswith(f"{info.name}.") and name.endswith("self_attn"):
            width = inside.attributes.get("embed_dim")
            size = inputs[0].shape[-1] if inputs[0].shape else None
            if isinstance(width, int) and width != size:
                raise Conflicting(f"then {said} expects d_model={width}, gets {size}")
    return inputs[1] if info.type == "Transformer" and inputs[1:] else inputs[0]


def arithmetic(name: str, left: Any, right: Any, line: int, reckon: Any) -> Any:
    """`left + right` of tensors or numbers."""
    refs = [value for value in (left, right) if isinstance(value, TensorRef)]
    if not refs:
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        try:
            return reckon(left, right)
        except (TypeError, ValueError, ArithmeticError):  # no number, as `None + 1`
            return UNKNOWN
    if any(_hides(value) for value in (left, right)):
        return UNKNOWN
    if len(refs) == 1:
        other = right if isinstance(left, TensorRef) else left
        if not isinstance(other, (int, float, complex)):
            return UNKNOWN
        kind = torch.bool if name in _TELLS else refs[0].dtype
        if isinstance(other, float) and not kind.is_floating_point:
            kind = torch.float32 if name not in _TELLS else kind
        return replace(refs[0], id=-2, dtype=kind)
    return function(name, f"torch.Tensor.{name}", [left, right], {}, line)


def pairs_samples(left: Any, right: Any) -> bool:
    """Whether two operands of one entry a sample meet each in another dimension:
    (16, 1, 1, 1) and (16,) give (16, 1, 1, 16)."""
    if not isinstance(left, TensorRef) or not isinstance(right, TensorRef):
        return False
    short, long = sorted((left.shape, right.shape), key=len)
    if not 0 < len(short) < len(long) or short[0] != long[0] or short[0] < 2:
        return False
    return all(size == 1 for size in long[-len(short) :])


def number(name: str, of: TensorRef, arguments: list[Any]) -> Any:
    """`x.size(1)`, `x.dim()`: what a tensor's methods say of its shape."""
    if name == "size" and not arguments:
        return of.shape
    if name == "size" and isinstance(arguments[0], int):
        if not -len(of.shape) <= arguments[0] < len(of.shape):
            raise Conflicting(
                f"then a tensor of shape {of.shape} has no dimension " f"{arguments[0]}"
            )
        return of.shape[arguments[0]]
    if name in ("dim", "ndimension"):
        return len(of.shape)
    if name in ("numel", "nelement"):
        return math.prod(of.shape)
    return UNKNOWN
