"""The bytes that an operation of torch must read and write at least.

Operations are seen below functions, where a `reshape` is a view or a copy and a
`dropout` out of training nothing at all. Nothing is fused: each reads its operands and
writes its results once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import shapetrace.torch_internals as torch_internals
from shapetrace.signatures.refusal import of_torch

#: they hand out memory and leave it as it is; the last two are views in all but name
_UNWRITTEN = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("empty_permuted", "resize_", "set_", "_unsafe_view", "_reshape_alias"),
}
#: what the first operand held before does not matter to them
_OVERWRITING = {
    *("copy_", "fill_", "zero_", "normal_", "uniform_", "random_", "exponential_"),
    *("bernoulli_", "geometric_", "cauchy_", "log_normal_", "eye_"),
}
#: they read of the first operand as many elements as they give
_GATHERING = {
    *("index", "index_select", "gather", "take", "embedding", "masked_select"),
    "_unsafe_index",  # what nearest neighbours are chosen by
}
#: they read of the first operand at most so many elements for each that they give
_SAMPLING = {
    **{"grid_sampler_2d": 4, "grid_sampler_3d": 8, "upsample_linear1d": 2},
    **{"upsample_bilinear2d": 4, "upsample_trilinear3d": 8, "upsample_bicubic2d": 16},
}
#: they halve what is sorted until they have each value's place: which operand it is
_SEARCHING = {"searchsorted": 0, "bucketize": 1}
#: they read of the first operand a row for each index, and may shorten it
_BAGS = {
    *("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"),
    "embedding_renorm_",
}
#: they read of the first operand an element for each class index
_PICKING = {"nll_loss_forward", "nll_loss2d_forward"}
#: they write as many elements of the first operand as the last tensor has
_SCATTERING = {
    *("index_add", "index_copy", "index_reduce", "scatter", "scatter_add"),
    *("scatter_reduce", "put", "masked_scatter"),
}
#: and these overwrite them, where they do not accumulate; the others read them too
_REPLACING = {"index_copy", "scatter", "put", "masked_scatter"}
#: they overwrite what indices choose of the first operand
_PLACING = {"index_put", "_index_put_impl", "_unsafe_index_put"}


def traffic(func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> int:
    """Bytes read and written by one call of an `OpOverload` on these arguments."""
    name = torch_internals.packet_of(func).__name__
    if func.is_view or func.namespace == "prim" or name in _UNWRITTEN:
        return 0
    given = _arguments(func, args, kwargs)
    operands = tensors_in([value for argument, value in given if not argument.is_out])
    results = _new(tensors_in([output]), operands)
    stem = name.removesuffix("_")
    if name.endswith("_like") or name.startswith("new_"):
        return _bytes(results)  # the first operand says what they are like
    if name in _BAGS:
        rows = operands[1].numel() * operands[0].size(-1) * operands[0].element_size()
        return rows + _bytes(operands[1:]) + _bytes(results[:1])
    if name in _PICKING:
        picked = operands[1].numel() * operands[0].element_size()
        return picked + _bytes(operands[1:]) + _bytes(results)
    if name in _SAMPLING:
        read = min(_bytes(operands[:1]), _SAMPLING[name] * _bytes(results))
        return read + _bytes(operands[1:]) + _bytes(results)
    if name in _SEARCHING:
        ordered = operands.pop(min(_SEARCHING[name], len(operands) - 1))
        steps = results[0].numel() * ordered.size(-1).bit_length()
        read = min(_bytes([ordered]), steps * ordered.element_size())
        return read + _bytes(operands) + _bytes(results)
    if stem in _GATHERING and operands:
        chosen = _bytes(results)  # an element may be read many times, from a cache
        return _bytes(operands[1:]) + min(_bytes(operands[:1]), chosen) + chosen
    if stem in _SCATTERING and operands:
        changed = operands[-1].numel() * operands[0].element_size()
        if stem not in _REPLACING or _accumulates(func, args, kwargs):
            changed *= 2
        return _bytes(operands[1:]) + changed + 2 * _bytes(results)
    if stem == "index_fill":  # whole rows of the first, which the index chooses
        whole, dim, index = args[:3]
        rows = whole.numel() // max(1, whole.shape[dim]) if whole.shape else 1
        written: int = rows * index.numel() * whole.element_size()
        return _bytes(operands[1:]) + written + 2 * _bytes(results)
    if stem in _PLACING:
        chosen = of_torch(
            torch.ops.aten.index, args[0], args[1]
        )  # values may be broadcast to it
        changed = _bytes([chosen]) * (1 + _accumulates(func, args, kwargs))
        return _bytes(operands[1:]) + changed + 2 * _bytes(results)
    targets = [
        value
        for argument, value in given
        if argument.alias_info is not None
        and argument.alias_info.is_write
        and not argument.is_out
    ]
    changed = _bytes(tensors_in(targets))
    if name in _OVERWRITING:
        return changed + _bytes(operands[1:])
    return _bytes(operands) + changed + _bytes(results)


def _accumulates(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether what was there before is in what is written."""
    return any(
        argument.name == "reduce" or argument.name == "accumulate" and value
        for argument, value in _arguments(func, args, kwargs)
    )


def _arguments(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    schema = func._schema.arguments
    by_name = {argument.name: argument for argument in schema}
    found = list(zip(schema, args, strict=False))
    found += [(by_name[key], value) for key, value in kwargs.items() if key in by_name]
    return found


def tensors_in(values: Any) -> list[Tensor]:
    """Each once, also those in lists."""
    found: dict[int, Tensor] = {}
    for value in values:
        if isinstance(value, Tensor):
            found.setdefault(id(value), value)
        elif isinstance(value, (tuple, list)):
            for one in tensors_in(value):
                found.setdefault(id(one), one)
    return [*found.values()]


def _new(results: list[Tensor], operands: list[Tensor]) -> list[Tensor]:
    """Those that are not what was passed in and changed in place."""
    passed = set(map(id, operands))
    return [one for one in results if id(one) not in passed]


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(_elements(one) * one.element_size() for one in tensors)


def _elements(tensor: Tensor) -> int:
    """What an expanded dimension repeats lies in memory once."""
    count = 1
    for size, step in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if step or not size else 1
    return count
