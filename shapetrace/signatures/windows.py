"""The arithmetic of windows: convolution, pooling and resizing of one dimension.

A window function takes the call, the index of the spatial dimension (0 the first) and
its size, and gives how it was made, the resulting size, and the sum for a reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from shapetrace.signatures.answer import Unknown
from shapetrace.signatures.binding import Bound
from shapetrace.signatures.relation import How

Window = Callable[[Bound, int, int], tuple[How, int | None, str]]


def _text(size: int, pads: int, reach: int, stride: int) -> str:
    """(28 + 2 - 3) / 2 + 1"""
    inner = str(size) + (f" + {pads}" if pads else "") + f" - {reach}"
    return f"({inner})" + (f" / {stride}" if stride != 1 else "") + " + 1"


def _kernel(b: Bound, i: int) -> int:
    """The kernel's size: the weight's, counted after its two channel dimensions."""
    return b.need("weight").shape[2 + i]


def conv(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """A convolution."""
    kernel = _kernel(b, i)
    stride = b.pair("stride", i, 1)
    dilation = b.pair("dilation", i, 1)
    reach = dilation * (kernel - 1) + 1
    padding = b.value("padding", 0)
    if padding == "same":
        return "same", size, "padding='same'"
    pads = 0 if padding == "valid" else 2 * b.pair("padding", i, 0)
    result = (size + pads - reach) // stride + 1
    return "window", result, _text(size, pads, reach, stride)


def conv_transpose(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """A transposed convolution."""
    kernel = _kernel(b, i)
    stride = b.pair("stride", i, 1)
    reach = b.pair("dilation", i, 1) * (kernel - 1)
    pads = 2 * b.pair("padding", i, 0)
    extra = b.pair("output_padding", i, 0)
    result = (size - 1) * stride - pads + reach + extra + 1
    note = f"({size} - 1)" + (f"·{stride}" if stride != 1 else "")
    note += (f" - {pads}" if pads else "") + f" + {reach + extra + 1}"
    return "window", result, note


def pool(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """A pooling with kernel and stride."""
    kernel = b.pair("kernel_size", i, 1)
    stride = kernel if b.value("stride") in (None, (), []) else b.pair("stride", i, 1)
    reach = b.pair("dilation", i, 1) * (kernel - 1) + 1
    padding = b.pair("padding", i, 0)
    span = size + 2 * padding - reach
    result = span // stride + 1
    if b.flag("ceil_mode"):
        result = -(-span // stride) + 1
        # the last window must begin inside the input or its left padding
        if (result - 1) * stride >= size + padding:
            result -= 1
    return "window", result, _text(size, 2 * padding, reach, stride)


def _each(value: Any, i: int) -> Any:
    """An argument's part for one spatial dimension."""
    if not isinstance(value, (tuple, list)):
        return value
    if not value:
        raise Unknown
    return value[i] if len(value) > i else value[0]


def adaptive(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """An adaptive pooling: the output's size is told, or left as it is by None."""
    wanted = _each(b.value("output_size"), i)
    if wanted is None:
        return "same", size, ""
    if not isinstance(wanted, int):
        raise Unknown
    return "argument", wanted, f"output_size={wanted}"


def fractional(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """A fractional pooling: a size or a ratio."""
    if b.value("output_size") is not None:
        return adaptive(b, i, size)
    ratio = _each(b.value("output_ratio"), i)
    if not isinstance(ratio, (int, float)):
        raise Unknown
    return "window", int(size * ratio), f"{size}·{ratio}"


def unpool(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """The inverse of a max pooling."""
    wanted = b.value("output_size")
    if isinstance(wanted, (tuple, list)):
        tail = wanted[i - _spatial(b) :]
        if not tail or not isinstance(tail[0], int):
            raise Unknown
        return "argument", tail[0], f"output_size={tail[0]}"
    kernel = b.pair("kernel_size", i, 1)
    stride = kernel if b.value("stride") in (None, (), []) else b.pair("stride", i, 1)
    pads = 2 * b.pair("padding", i, 0)
    result = (size - 1) * stride + kernel - pads
    note = f"({size} - 1)·{stride} + {kernel}" + (f" - {pads}" if pads else "")
    return "window", result, note


def _spatial(b: Bound) -> int:
    """How many spatial dimensions the function's name tells: max_unpool2d."""
    return int(b.name[-2])


def resize(b: Bound, i: int, size: int) -> tuple[How, int | None, str]:
    """interpolate: a size, or a multiple."""
    wanted = _each(b.value("size"), i)
    if isinstance(wanted, int):
        return "argument", wanted, f"size={wanted}"
    factor = _each(b.value("scale_factor"), i)
    if not isinstance(factor, (int, float)):
        raise Unknown
    return "repeat", math.floor(size * factor), f"{size}·{factor:g}"


WINDOWS: dict[str, Window] = {
    **{f"conv{n}d": conv for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": conv_transpose for n in (1, 2, 3)},
    **{
        f"{kind}_pool{n}d{tail}": pool
        for kind in ("max", "avg", "lp")
        for n in (1, 2, 3)
        for tail in ("", "_with_indices")
    },
    **{
        f"adaptive_{kind}_pool{n}d{tail}": adaptive
        for kind in ("max", "avg")
        for n in (1, 2, 3)
        for tail in ("", "_with_indices")
    },
    **{
        f"fractional_max_pool{n}d{tail}": fractional
        for n in (2, 3)
        for tail in ("", "_with_indices")
    },
    **{f"max_unpool{n}d": unpool for n in (1, 2, 3)},
}
